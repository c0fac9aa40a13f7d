# nginx -t takes the examples, the pages have them as they are, and links
# between pages lead somewhere.

use strict;
use warnings;

use File::Temp qw(tempdir);
use Test::More;

my $nginx = $ENV{TEST_NGINX_BINARY} || '/usr/sbin/nginx';
my $module = $ENV{NGX_CENTRIFUGO_MODULE}
    or die "NGX_CENTRIFUGO_MODULE is not set\n";
my ($modules) = `$nginx -V 2>&1` =~ /--modules-path=(\S+)/;

sub slurp { local (@ARGV, $/) = @_; <> }

sub spew {
    my ($file, $text) = @_;

    open my $f, '>', $file or die "$file: $!";
    print $f $text;
    close $f;
}

for my $conf (glob 'examples/*/nginx.conf') {
    my $text = slurp($conf);

    next if $text =~ /\@prefix\@/;      # filled in and run by its own test

    # an NGINX that was built for the test alone has no njs

    if ($nginx ne '/usr/sbin/nginx' && $text =~ /ngx_http_js_module/
        && !-e "$modules/ngx_http_js_module.so")
    {
        pass("$conf: not with this NGINX, it has no njs");
        next;
    }

    my $dir = tempdir(CLEANUP => 1);
    my ($example) = $conf =~ m{(.*)/};

    mkdir "$dir/$_" for qw(modules logs cache);
    symlink $module, "$dir/modules/ngx_centrifugo_module.so";
    symlink "$modules/ngx_http_js_module.so",
        "$dir/modules/ngx_http_js_module.so";
    system('cp', '-r', "$example/js", "$dir/js") if -d "$example/js";

    system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        . " -nodes -days 2 -subj /CN=localhost -keyout $dir/example.com.key"
        . " -out $dir/example.com.crt 2>/dev/null") == 0 or die 'openssl';
    spew("$dir/clients.crt", slurp("$dir/example.com.crt"));
    spew("$dir/secrets.conf", $conf =~ /jwks/
        ? "subscription_token_hmac_secret_key s;\n"
        : "token_hmac_secret_key s;\napi_key k;\n");

    # a port that nobody needs to be root for, files of one's own

    $text =~ s/^ {8}listen 443 ssl;/listen 127.0.0.1:1984 ssl;/gm;
    $text =~ s/^http \{\n/"http {\naccess_log off;\n" . join '', map {
        "${_}_temp_path $dir\/$_;\n" } qw(client_body proxy fastcgi uwsgi
        scgi)/me;
    spew("$dir/nginx.conf", $text);

    my $out = `$nginx -t -p $dir -c $dir/nginx.conf -e stderr 2>&1`;

    ok($? == 0, $conf) or diag($out);
    unlike($out, qr/\[(warn|emerg|error)\]/, "$conf: nothing to complain of");
}

my $docs = join '', map { slurp($_) } glob 'docs/*.md';
my $files = 0;

for my $file (glob('examples/tokens/*'), glob('examples/*/nginx.conf')) {
    next if $file =~ m{/jwt\.mjs$|__pycache__|/quickstart/};

    my $code = slurp($file);
    ok($docs =~ /^```[a-z]+\n\Q$code\E```$/m, "$file is in the docs");
    $files++;
}

ok($files >= 8, 'the code was found');

# links between pages lead somewhere

for my $page ('README.md', glob 'docs/*.md') {
    my $text = slurp($page);
    my ($base) = $page =~ m{^(.*/)?};

    $base = '' unless defined $base;
    $text =~ s/^```.*?^```$//gms;

    while ($text =~ /\]\(([^)#:\s]*)(?:#([^)]*))?\)/g) {
        my ($file, $anchor) = (length $1 ? $base . $1 : $page, $2);

        ok(-e $file, "$page links to $file");
        next unless defined $anchor && -f $file;

        my $there = grep {
            my $h = lc $_;
            $h =~ s/[^\w -]//g;
            $h =~ tr/ /-/;
            $h eq $anchor;
        } slurp($file) =~ /^#+ (.*)$/gm;

        ok($there, "$page links to $file#$anchor");
    }
}

done_testing();
