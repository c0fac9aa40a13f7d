# Directives: what nginx -t takes, what it refuses and what it then says.

use strict;
use warnings;

use File::Temp qw(tempdir);
use Test::More;

my $nginx = $ENV{TEST_NGINX_BINARY} || '/usr/sbin/nginx';
my $module = $ENV{NGX_CENTRIFUGO_MODULE}
    or die "NGX_CENTRIFUGO_MODULE is not set\n";
my $dir = tempdir(CLEANUP => 1);

sub check {
    my ($http, $workers) = @_;
    my $conf = "$dir/nginx.conf";

    open my $f, '>', $conf or die $!;
    print $f "load_module $module;\nworker_processes ", $workers || 2, ";\n",
        "pid $dir/pid;\nerror_log stderr notice;\nevents { }\nhttp {\n",
        "access_log off;\n",
        (map { "${_}_temp_path $dir/$_;\n" }
         qw(client_body proxy fastcgi uwsgi scgi)),
        $http, "\n}\n";
    close $f;

    my $out = `$nginx -t -p $dir -c $conf -e stderr 2>&1`;
    return ($? == 0, $out);
}

sub hub { "centrifugo_hub main {\nzone 4m;\n" . join("\n", @_) . "\n}\n" }
sub server { "server { listen 127.0.0.1:1;\n" . join("\n", @_) . "\n}\n" }

sub good {
    my ($name, $http, $like) = @_;
    my ($ok, $out) = check($http);

    ok($ok, $name) or diag($out);
    like($out, $like, "$name: what it says") if $like;
}

# refused, with the file, the line and what to write instead
sub bad {
    my ($name, $http, $like) = @_;
    my ($ok, $out) = check($http);

    ok(!$ok, "$name is refused");
    like($out, $like, "$name: what it says");
    like($out, qr/nginx\.conf:\d+/, "$name: where");
}

good('no hub at all', '');
good('a hub', hub());
good('two hubs', hub() . 'centrifugo_hub other { zone 8m log=4m; }');

my %times = (ping_interval => [['1s', '25s', '24h'], ['0', '999ms', '25h']],
    pong_timeout => [['100ms', '8s'], ['0', '99ms', '25h']],
    stale_close_delay => [['100ms', '10s'], ['0', '25h']],
    expired_close_delay => [['0', '25s'], ['25h']],
    write_timeout => [['100ms', '10s'], ['0', '25h']],
    drain_time => [['0', '30s', '2000ms'], ['25h']]);
my %numbers = (channel_limit => [[1, 128, 1000000], [0, 1000001]],
    channel_max_length => [[1, 255, 1024], [0, 1025]],
    connection_limit => [[0, 10000], [3000000000]]);
my %sizes = (message_size_limit => [['128', '64k', '64m'], ['127', '65m']],
    publication_max_size => [['1', '100k'], ['0', '65m']],
    queue_max_size => [['4k', '1m', '1024m'], ['4095', '1025m']]);
my @flags = qw(client_insecure api_insecure
    allow_anonymous_connect_without_token allow_subscribe_for_client
    allow_subscribe_for_anonymous allow_publish_for_client
    allow_publish_for_subscriber allow_publish_for_anonymous);

for my $set (\%times, \%numbers, \%sizes) {
    for my $d (sort keys %$set) {
        good("$d $_", hub("$d $_;")) for @{ $set->{$d}[0] };
        bad("$d $_", hub("$d $_;"), qr/invalid value "\Q$_\E" of "$d": write /)
            for @{ $set->{$d}[1] }, 'x', '-1', '1s1k';
        my $v = $set->{$d}[0][-1];
        bad("$d twice", hub("$d $v;", "$d $v;"), qr/"$d" directive is dup/);
        bad("$d without a value", hub("$d;"), qr/number of arguments in "$d"/);
        bad("$d in http", "$d $v;", qr/"$d" directive is not allowed here/);
        bad("$d in a namespace", hub("namespace ns { $d $v; }"),
            qr/"$d" directive is not allowed here/);
    }
}

for my $d (@flags) {
    good("$d $_", hub("$d $_;")) for qw(on off ON);
    bad("$d yes", hub("$d yes;"),
        qr/invalid value "yes" of "$d": write "on" or "off"/);
    bad("$d twice", hub("$d on;", "$d on;"), qr/is duplicate: write it once/);
}

good("$_ in a namespace", hub("namespace ns { $_ on; }"))
    for grep { /^allow_(sub|pub)/ } @flags;

for my $d (qw(token_hmac_secret_key api_key)) {
    good($d, hub("$d secret;"));
    bad("empty $d", hub("$d \"\";"), qr/empty value of "$d": write /);
    bad("$d twice", hub("$d a;", "$d a;"), qr/is duplicate/);
}

open my $inc, '>', "$dir/secrets.conf" or die $!;
print $inc "api_key from-a-file;\n";
close $inc;
good('include in a hub', hub("include $dir/secrets.conf;")
    . server('location /api { centrifugo_api; }'));

# zones

bad('no zone', 'centrifugo_hub main { }', qr/has no zone: write "zone 64m;"/);
bad('zone twice', hub('zone 4m;'), qr/is duplicate/);

for (['3m', 'at least 4m'], ['x', 'a size such as 64m'],
     ['4m log=1', 'from 1m to half'], ['4m log=3m', 'from 1m to half'],
     ['4m size=1m', 'write "zone 4m log=16m;"'], ['4m log=', 'write "zone'])
{
    bad("zone $$_[0]", "centrifugo_hub main { zone $$_[0]; }",
        qr/\Q$$_[1]\E/);
}

good('the smallest log', 'centrifugo_hub main { zone 4m log=1m; }');
good('the largest log', 'centrifugo_hub main { zone 4m log=2m; }');

# names

bad('two hubs of a name', hub() . hub(), qr/duplicate centrifugo_hub "main"/);
bad('a short hub name', 'centrifugo_hub m { zone 4m; }',
    qr/invalid value "m" of "centrifugo_hub": write a name/);
bad('two namespaces of a name', hub('namespace ns { }', 'namespace ns { }'),
    qr/duplicate namespace "ns"/);
bad('a bad namespace name', hub('namespace "n s" { }'),
    qr/invalid value "n s" of "namespace": write a name/);
bad('an unknown directive', hub('history_sizes 1;'), qr/unknown directive/);
bad('a hub in a server', server(hub()), qr/"centrifugo_hub" directive is not/);
bad('a namespace in a namespace',
    hub('namespace ns { namespace mm { } }'), qr/"namespace" directive is not/);

# origins

good("origins $_", hub("allowed_origins $_;"))
    for 'https://example.com', 'https://a.b https://*.c.d null file://*';
good('any origin', hub('allowed_origins *;'), qr/\[warn\].*every site/);
bad('any origin and more', hub('allowed_origins * https://a.b;'),
    qr/allows every origin: write it alone/);
bad('origins twice', hub('allowed_origins a;', 'allowed_origins b;'),
    qr/is duplicate/);
bad('an empty origin', hub('allowed_origins "";'), qr/write origins such as/);

# values that depend on each other

bad('a pong after the next ping', hub('ping_interval 5s;', 'pong_timeout 5s;'),
    qr/must be less than ping_interval/);
bad('publications larger than half a queue',
    hub('queue_max_size 64k;', 'publication_max_size 33k;'),
    qr/more than half of queue_max_size: write at most 32768/);
bad('zone 65537m', 'centrifugo_hub main { zone 65537m; }',
    qr/is too large: write at most 64g/);
good('session_log off', hub('session_log off;'));
good('session_log', hub('session_log /dev/null;'));
bad('session_log with a variable', hub('session_log /tmp/$host.log;'),
    qr/"off" or the path of a file, without variables/);
bad('session_log twice', hub('session_log off;', 'session_log off;'),
    qr/is duplicate/);
good('centrifugo_queue_memory', 'centrifugo_queue_memory 1m;' . hub());
bad('centrifugo_queue_memory 100k', 'centrifugo_queue_memory 100k;' . hub(),
    qr/a size from 1m, such as 256m/);
bad('queue_max_size over centrifugo_queue_memory',
    'centrifugo_queue_memory 1m;' . hub('queue_max_size 2m;'),
    qr/write "centrifugo_queue_memory 8388608;" or more/);
bad('publications larger than an eighth of the log',
    'centrifugo_hub main { zone 4m; publication_max_size 200k; }',
    qr/does not fit into an eighth of the log/);

# locations

my $open = hub('client_insecure on;', 'api_insecure on;');

for my $d (qw(websocket api health metrics)) {
    good("centrifugo_$d",
         $open . server("location /x { centrifugo_$d main; }"));
    good("centrifugo_$d without a name",
         $open . server("location /x { centrifugo_$d; }"));
    good("centrifugo_$d before its hub",
         server("location /x { centrifugo_$d main; }") . $open);
    bad("centrifugo_$d of an unknown hub",
        $open . server("location /x { centrifugo_$d other; }"),
        qr/unknown hub "other" in "centrifugo_$d": write a block/);
    bad("centrifugo_$d without a hub",
        server("location /x { centrifugo_$d; }"),
        qr/without a hub name while there are 0 hubs/);
    bad("centrifugo_$d without a name and two hubs",
        $open . 'centrifugo_hub other { zone 4m; api_insecure on;'
        . ' client_insecure on; }'
        . server("location /x { centrifugo_$d; }"),
        qr/without a hub name while there are 2 hubs: write/);
    bad("centrifugo_$d in a server", $open . server("centrifugo_$d main;"),
        qr/"centrifugo_$d" directive is not allowed here/);
    bad("centrifugo_$d twice", $open
        . server("location /x { centrifugo_$d; centrifugo_health; }"),
        qr/give each a location of its own/);
}

bad('an API without a key', hub() . server('location /a { centrifugo_api; }'),
    qr/without a key: write "api_key SECRET;"/);
bad('a door for nobody',
    hub() . server('location /a { centrifugo_websocket; }'),
    qr/nobody could connect .* write token_hmac_secret_key/);
good("a door with $_", hub("$_;")
     . server('location /a { centrifugo_websocket; }'))
    for 'token_hmac_secret_key x', 'client_insecure on',
        'allow_anonymous_connect_without_token on';

bad("an API in location $_", $open . server("location $_ { centrifugo_api; }"),
    qr/regex or named location .*location \/api/) for '~ ^/a', '@a';
good('an API of commands alone',
     $open . server('location = /api { centrifugo_api; }'));

good('small bodies', $open
     . server('location /a { centrifugo_api; client_max_body_size 64k; }'),
     qr/\[warn\].*client_max_body_size 65536 is too small.*write/);
{
    my (undef, $out) = check($open
        . server('location /a { centrifugo_api; client_max_body_size 1m; }'));
    unlike($out, qr/client_max_body_size/, 'bodies that are large enough');
}

# nginx -t leaves nothing behind and binds nothing

opendir my $d, $dir or die $!;
is_deeply([sort grep { !/^\./ } readdir $d],
          [sort qw(nginx.conf secrets.conf client_body proxy fastcgi uwsgi
                   scgi), -e "$dir/pid" ? 'pid' : ()],
          'nginx -t makes no file of ours');

done_testing();
