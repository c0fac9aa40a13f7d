# docs/directives.md and the command tables name the same directives; NGINX
# takes the examples where the page says, and only there; metrics that pages
# name are there.

use strict;
use warnings;

use File::Temp qw(tempdir);
use Test::More;

my $nginx = $ENV{TEST_NGINX_BINARY} || '/usr/sbin/nginx';
my $module = $ENV{NGX_CENTRIFUGO_MODULE}
    or die "NGX_CENTRIFUGO_MODULE is not set\n";
my $dir = tempdir(CLEANUP => 1);

sub slurp { local (@ARGV, $/) = @_; <> }

sub spew {
    my ($file, $text) = @_;

    open my $f, '>', $file or die "$file: $!";
    print $f $text;
    close $f;
}

sub check {
    my ($http) = @_;

    spew("$dir/nginx.conf", "load_module $module;\nworker_processes 2;\n"
        . "pid $dir/pid;\nerror_log stderr notice;\nevents { }\nhttp {\n"
        . "access_log off;\n" . join('', map { "${_}_temp_path $dir/$_;\n" }
                                     qw(client_body proxy fastcgi uwsgi scgi))
        . "$http\n}\n");

    my $out = `$nginx -t -p $dir -c $dir/nginx.conf -e stderr 2>&1`;
    return ($? == 0, $out);
}

my $source = slurp('ngx_centrifugo_module.c');
my %table;

# HUB_TOKEN has a table of its own, of the names behind each prefix

my ($token) = $source =~ /^#define HUB_TOKEN(.*?[^\\])\n/ms;
my @token = $token =~ /prefix "([a-z_]+)"/g;

ok(@token > 10, 'the table of token directives was found');

for my $prefix ($source =~ /^\s+HUB_TOKEN\("([a-z_]+)"/gm) {
    $table{"$prefix$_"} = 1 for @token;
}

$source =~ s/^#define.*?[^\\]\n(?=\n|[^ ])//gms;
$source =~ s/^\s+HUB_TOKEN\(.*//gm;
$table{$1} = 1 while $source =~ /\{ ngx_string\("([a-z_0-9]+)"\)/g;
$table{$1} = 1 while $source
    =~ /^\s+(?:HUB_\w+|CHANNEL|CHANNEL_FLAG|LOCATION)\("([a-z_0-9]+)"/gm;
ok(keys %table > 25, 'the tables were found');

my $docs = slurp('docs/directives.md');
my %docs;

for my $section (split /^(?=### )/m, $docs) {
    next unless $section =~ /^### ([a-z_0-9]+)\n/;
    my $name = $1;

    $docs{$name} = 1;
    like($section, qr/\*\*$_\*\*/, "$name: $_")
        for qw(Syntax Default Context);
    like($section, qr/^```nginx\n.*\b$name\b.*^```/ms, "$name: an example");
}

is_deeply([sort keys %docs], [sort keys %table],
          'each directive is described, and no other');

# what an example needs beside it

my $kept = 'history_size 100; history_ttl 10m;';
my $forced = "$kept force_recovery on;";
my %beside = (
    history_size => 'history_ttl 10m;',
    history_ttl => 'history_size 100;',
    force_recovery_mode => $forced,
    auto_cache_recover => "$forced force_recovery_mode cache;",
    allowed_delta_types => $forced,
    delta_publish => "$forced allowed_delta_types fossil;",
    (map { $_ => $kept } qw(history_meta_ttl force_positioning
        allow_positioning force_recovery allow_recovery
        allow_history_for_client allow_history_for_subscriber)),
    subscription_token_enabled => 'subscription_token_hmac_secret_key s;',
    personal_channel_namespace => 'namespace personal { }',
    single_connection =>
        'presence on; subscribe_to_user_personal_channel on;',
);

for my $prefix ('token_', 'subscription_token_') {
    $beside{"$prefix$_"} = "${prefix}hmac_secret_key s;"
        for 'hmac_previous_secret_key', 'user_id_claim', 'audience_regex',
            'issuer_regex', 'audience', 'issuer',
            'insecure_skip_jwks_endpoint_safety_check';
    $beside{"${prefix}hmac_previous_secret_key_valid_until"} =
        "${prefix}hmac_secret_key s; ${prefix}hmac_previous_secret_key p;";
}

system("openssl ecparam -name prime256v1 -genkey -noout -out $dir/ec.key && "
    . "openssl ec -in $dir/ec.key -pubout -out $dir/ec.pem 2>/dev/null && "
    . "openssl genrsa -out $dir/rsa.key 2048 2>/dev/null && "
    . "openssl rsa -in $dir/rsa.key -pubout -out $dir/rsa.pem 2>/dev/null") == 0
    or die 'openssl';
spew("$dir/secrets.conf", "# none\n");

my $open = 'zone 64m; client_insecure on; api_insecure on;';
my %block = (
    http => sub { $_[0] },
    centrifugo_hub => sub {
        my $zone = $_[0] =~ /^zone /m ? '' : 'zone 64m;';

        "centrifugo_hub main { $zone $_[0] }";
    },
    namespace => sub {
        "centrifugo_hub main { zone 64m; namespace ns { $_[0] } }"
    },
    location => sub {
        "centrifugo_hub main { $open }\nserver { listen 127.0.0.1:1;\n"
            . ($_[0] =~ /^location/ ? $_[0] : "location /x { $_[0] }")
            . "\n}";
    },
);

for my $section (split /^(?=### )/m, $docs) {
    next unless $section =~ /^### ([a-z_0-9]+)\n/;
    my $name = $1;
    my %there = map { $_ => 1 }
        ($section =~ /^\*\*Context\*\*: (.*)/m)[0] =~ /`(\w+)`/g;
    my ($example) = $section =~ /^```nginx\n(.*?)^```/ms;

    ok(!(grep { !$block{$_} } keys %there), "$name: contexts that exist");

    $example =~ s{/\S*-(ec|rsa)\.pem}{$dir/$1.pem};
    $example =~ s{/\S*secrets\.conf}{$dir/secrets.conf};
    $example =~ s{/var/log/nginx/}{$dir/};

    # that of a directive of two contexts is for a location, with its variable

    delete $there{centrifugo_hub} if $there{location};

    for my $context (sort keys %there) {
        my $text = $context eq 'location' ? $example
            : ($beside{$name} || '') . "\n$example";
        my ($ok, $out) = check($block{$context}->($text));

        ok($ok, "$name in $context: NGINX takes the example") or diag($out);
        unlike($out, qr/\[warn\].*\b$name\b/, "$name in $context: no warning")
            unless $name =~ /insecure/;
    }

    # include and user are NGINX's own, too

    next if $there{location} || $name =~ /^(include|user)$/;

    for my $context (grep { !$there{$_} } qw(http centrifugo_hub namespace)) {
        my ($ok, $out) = check($block{$context}->($example));

        ok(!$ok && $out =~ /"$name" directive is not allowed here/,
           "$name in $context: is not allowed") or diag($out);
    }
}

my $metrics = slurp('src/api/ngx_centrifugo_metrics.c');
my %named;

for my $page (glob 'docs/*.md') {
    $named{$_} = $page
        for slurp($page) =~ /`(centrifugo_(?:hub|client|node|broker)_\w+\w)\b/g;
}

ok(keys %named > 10, 'metrics were found');
delete $named{centrifugo_hub_};
like($metrics, qr/"$_"/, "$named{$_}: there is a metric $_")
    for sort keys %named;

done_testing();
