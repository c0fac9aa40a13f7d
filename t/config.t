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
    expired_sub_close_delay => [['0', '25s'], ['25h']],
    write_timeout => [['100ms', '10s'], ['0', '25h']],
    drain_time => [['0', '30s', '2000ms'], ['25h']],
    channel_position_check_delay => [['1s', '40s'], ['0', '999ms', '25h']],
    channel_position_max_time_lag => [['0', '10s'], ['25h']]);
my %numbers = (channel_limit => [[1, 128, 1000000], [0, 1000001]],
    channel_max_length => [[1, 255, 1024], [0, 1025]],
    connection_limit => [[0, 10000], [3000000000]],
    connection_limit_per_address => [[0, 10000], [3000000000]],
    connection_rate_limit => [[0, 1000000], [1000001]],
    user_connection_limit => [[0, 10000], [3000000000]],
    history_max_publication_limit => [[1, 300], [0, 1000001]],
    websocket_compression_level => [[1, 9], [0, 10]],
    recovery_max_publication_limit => [[1, 300], [0, 1000001]]);
my %sizes = (message_size_limit => [['128', '64k', '64m'], ['127', '65m']],
    publication_max_size => [['1', '100k'], ['0', '65m']],
    websocket_compression_min_size => [['0', '1k'], ['65m']],
    queue_max_size => [['4k', '1m', '1024m'], ['4095', '1025m']],
    presence_info_max => [['0', '4k'], ['4097', '1m']]);
my @flags = qw(client_insecure api_insecure
    allow_anonymous_connect_without_token allow_subscribe_for_client
    allow_subscribe_for_anonymous allow_publish_for_client
    allow_publish_for_subscriber allow_publish_for_anonymous
    allow_presence_for_client allow_presence_for_subscriber
    allow_presence_for_anonymous allow_user_limited_channels presence
    join_leave force_push_join_leave disallow_anonymous_connection_tokens
    subscribe_to_user_personal_channel channel_compaction
    allow_history_for_client allow_history_for_subscriber
    allow_history_for_anonymous allow_tags_filter
    token_insecure_skip_jwks_endpoint_safety_check
    subscription_token_insecure_skip_jwks_endpoint_safety_check
    insecure_skip_token_signature_verify websocket_compression);

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
    for grep { /^(allow_(sub|pub|pres|user|hist|tags)|presence$|join_|force_)/ } @flags;
bad("$_ in a namespace", hub("namespace ns { $_ on; }"),
    qr/"$_" directive is not allowed here/)
    for grep { !/^(allow_(sub|pub|pres|user|hist|tags)|presence$|join_|force_)/ } @flags;

my %strings = (api_key => 'secret');
for my $p ('token_', 'subscription_token_') {
    $strings{"$p$_"} = 'secret' for qw(hmac_secret_key audience issuer);
    $strings{"$p$_"} = '^(?P<name>a|b)$' for qw(audience_regex issuer_regex);
    $strings{"${p}user_id_claim"} = 'user_id';
    $strings{"${p}jwks_public_endpoint"} = '/jwks';
}

for my $d (sort keys %strings) {
    good($d, hub("$d '$strings{$d}';"));
    bad("empty $d", hub("$d \"\";"), qr/empty value of "$d": write /);
    bad("$d twice", hub("$d '$strings{$d}';", "$d '$strings{$d}';"),
        qr/is duplicate/);
    bad("$d in a namespace", hub("namespace ns { $d a; }"),
        qr/"$d" directive is not allowed here/);
}

# tokens

for my $p ('token_', 'subscription_token_') {
    my $k = "${p}hmac_secret_key a;";

    good("${p}hmac_previous_secret_key",
         hub($k, "${p}hmac_previous_secret_key b;",
             "${p}hmac_previous_secret_key_valid_until $_;"))
        for 0, 1999999999;
    bad("${p}hmac_previous_secret_key alone",
        hub("${p}hmac_previous_secret_key b;"),
        qr/${p}hmac_secret_key/);
    bad("${p}hmac_previous_secret_key_valid_until $_",
        hub($k, "${p}hmac_previous_secret_key_valid_until $_;"),
        qr/write a time in unix seconds/) for 'x', '-1';
    bad("${p}$_ that is no key", hub("${p}$_ /none/such.pem;"), qr/${p}$_/)
        for 'rsa_public_key', 'ecdsa_public_key';
    bad("${p}$_ that is none", hub("$k ${p}$_ '(';"), qr/${p}$_/)
        for 'audience_regex', 'issuer_regex';
    bad("${p}user_id_claim $_", hub("$k ${p}user_id_claim '$_';"),
        qr/${p}user_id_claim/) for 'a-b', 'a.b', '1';
    bad("${p}jwks_public_endpoint $_",
        hub("${p}jwks_public_endpoint '$_';"),
        qr/${p}jwks_public_endpoint/)
        for 'https://a.b/jwks', 'jwks', '/jwks/{{none}}';
}

bad('subscription tokens without a key', hub('subscription_token_enabled on;'),
    qr/without a key: write subscription_token_hmac_secret_key/);
good('subscription keys that are switched off',
     hub('subscription_token_enabled off;',
         'subscription_token_hmac_secret_key a;'),
     qr/\[warn\].*are not used/);
good('tokens that nobody checks', hub('insecure_skip_token_signature_verify on;'),
     qr/\[warn\].*everybody can make tokens/);

# names of channels

for my $d (qw(private_prefix namespace_boundary user_boundary user_separator)) {
    good("channel_$d $_", hub("channel_$d '$_';")) for '', '@', '/';
    bad("channel_$d $_", hub("channel_$d '$_';"),
        qr/write one visible ASCII character/) for '::', ' ';
}

good("publication_data_format $_", hub("publication_data_format '$_';",
     "channel_publication_data_format '$_';",
     "namespace ns { publication_data_format '$_'; }"))
    for '', qw(json json_object binary);
bad('publication_data_format xml', hub('publication_data_format xml;'),
    qr/write "json", "json_object", "binary"/);
# history

my $kept = 'history_size 10; history_ttl 10m;';

for my $block (sub { hub(@_) }, sub { hub('namespace ns {', @_, '}') }) {
    good("history: $_", $block->($_), qr/^(?!.*\[warn\])/s)
        for $kept, 'history_size 0; history_ttl 0;',
            'history_size 1000000; history_ttl 1s; history_meta_ttl 1s;',
            "$kept history_meta_ttl 3650d;", "$kept force_positioning on;",
            "$kept force_recovery on; force_recovery_mode cache; "
            . 'auto_cache_recover on;',
            "$kept allow_recovery on; force_recovery_mode stream;",
            "$kept allow_positioning on; allowed_delta_types fossil; "
            . 'delta_publish on;';

    bad("history: $$_[0]", $block->($$_[0]), $$_[1])
        for ['history_size 10;', qr/history_size of .* without history_ttl: w/],
            ['history_ttl 10m;', qr/history_ttl of .* without history_size: w/],
            ['history_size 10; history_ttl 0;', qr/nothing without history_ttl/],
            ["$kept history_meta_ttl 5m;", qr/write "history_meta_ttl 600s;"/],
            ['history_size 10; history_ttl 365d;', qr/less than history_ttl/],
            ['history_size 1000001;', qr/number of publications up to 1000000/],
            ['history_ttl 1500ms;', qr/time in whole seconds/],
            ['history_meta_ttl 0;', qr/time in whole seconds/],
            ['force_recovery on;', qr/force_recovery of .* needs history: write/],
            ["$kept auto_cache_recover on;", qr/write "force_recovery on|needs "f/],
            ["$kept force_recovery on; auto_cache_recover on;",
             qr/needs "force_recovery on; force_recovery_mode cache;"/],
            ['force_recovery_mode any;', qr/write "stream" or "cache"/],
            ['allowed_delta_types rsync;', qr/write "fossil"/],
            ['force_recovery yes;', qr/write "on" or "off"/],
            (map { ["$_ $_;", qr/invalid value/] }
             qw(history_size history_ttl force_positioning allow_positioning
                allow_recovery auto_cache_recover delta_publish)),
            (map { ["$_; $_;", qr/is dup/] } 'history_size 1', 'history_ttl 1s',
             'history_meta_ttl 1h', 'force_recovery_mode cache',
             'allowed_delta_types fossil', 'delta_publish on');

    good("history: $$_[0] changes nothing", $block->($$_[0]),
         qr/\[warn\] .*$$_[1] of \w+ "\w+" changes nothing .* write "$$_[2]/)
        for (map { [/recovery_mode/ ? "$_ cache;" : /types/ ? "$_ fossil;"
                    : /ttl/ ? "$_ 1h;" : "$_ on;", $_, 'history_size 100;'] }
             qw(allow_recovery allow_positioning force_positioning
                force_recovery_mode allowed_delta_types delta_publish
                history_meta_ttl allow_history_for_client
                allow_history_for_subscriber)),
            ["$kept force_recovery_mode cache; allow_positioning on;",
             'force_recovery_mode', 'force_recovery on;'],
            ["$kept allowed_delta_types fossil;", 'allowed_delta_types',
             'allow_positioning on;'],
            ["$kept force_recovery on; delta_publish on;", 'delta_publish',
             'allowed_delta_types fossil;'];

    # whoever may read the history may ask for a position

    for my $right (qw(allow_history_for_client allow_history_for_subscriber)) {
        good("history: $right is enough", $block->("$kept $right on;"
             . 'force_recovery_mode cache; allowed_delta_types fossil;'),
             qr/^(?!.*\[warn\])/s);
    }
}

good("api_error_mode '$_'", hub("api_error_mode '$_';")) for '', 'transport';
bad('api_error_mode body', hub('api_error_mode body;'),
    qr/write "transport", or leave it out/);
bad('api_error_mode in a namespace',
    hub('namespace ns { api_error_mode transport; }'), qr/not allowed here/);

good('channel_regex', hub('channel_regex ^[a-z]+$;',
                          'namespace ns { channel_regex "^[0-9]{2}$"; }'));
bad("channel_regex $_", hub("channel_regex '$_';"), qr/channel_regex/)
    for '(', '', "\xff";
bad('channel_regex twice', hub('channel_regex a;', 'channel_regex a;'),
    qr/is duplicate/);

# the personal channel

good('a personal channel', hub('subscribe_to_user_personal_channel on;',
     'personal_channel_namespace me;', 'single_connection on;',
     'namespace me { presence on; }'));
bad('a personal channel nowhere', hub('personal_channel_namespace me;'),
    qr/write "namespace me \{ \}"/);
bad('single_connection without presence',
    hub('subscribe_to_user_personal_channel on;', 'single_connection on;'),
    qr/needs .*"presence on;"/);
bad('single_connection without a personal channel',
    hub('single_connection on;', 'presence on;'),
    qr/needs "subscribe_to_user_personal_channel on;"/);
bad('a personal channel without its mark',
    hub('subscribe_to_user_personal_channel on;', 'channel_user_boundary "";'),
    qr/needs channel_user_boundary/);

# who NGINX says it is

for my $d (qw(user connection_info)) {
    good("$d in a hub", hub("$d \$remote_user;"));
    good("$d in a location", hub("$d \$remote_user;", 'client_insecure on;')
         . server("location /a { centrifugo_websocket; $d \$arg_a; }"));
    bad("$d twice", hub("$d \$host;", "$d \$host;"), qr/is duplicate/);

    my ($ok, $out) = check(hub("$d \$none_such;"));
    ok(!$ok, "$d of an unknown variable is refused");
    like($out, qr/unknown "none_such" variable/, 'and NGINX says so');

    bad("$d without a value", hub("$d '';"), qr/variable, such as|such as \$/);
}

good('user of text and variables', hub('user "ssl:$ssl_client_s_dn";'));
bad("connection_info $_", hub("connection_info '$_';"),
    qr/write one variable, such as \$auth_info/)
    for '{"a":"$host"}', '$host$host', 'x';

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

# blocks within locations

for my $d (qw(websocket api grpc_api health metrics)) {
    good("centrifugo_$d with if and limit_except",
         hub('client_insecure on;', 'api_insecure on;')
         . server("location /x { centrifugo_$d; if (\$arg_a) { set \$b 1; } "
                  . 'limit_except GET { deny all; } }'));
}

good('user of the location around', hub()
     . server('location /a { user $arg_a; location /a/b { '
              . 'centrifugo_websocket; } }'));

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

for my $d (qw(websocket api grpc_api health metrics)) {
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
    for 'token_hmac_secret_key x', 'client_insecure on', 'user $remote_user',
        'allow_anonymous_connect_without_token on',
        'token_jwks_public_endpoint /jwks';

bad("an API in location $_", $open . server("location $_ { centrifugo_api; }"),
    qr/regex or named location .*location \/api/) for '~ ^/a', '@a';
good('an API of commands alone',
     $open . server('location = /api { centrifugo_api; }'));

bad('a GRPC API without a key',
    hub() . server('location /a { centrifugo_grpc_api; }'),
    qr/"centrifugo_grpc_api" on hub "main" without a key: write "api_key /);
good("a GRPC API in location $_",
     $open . server("location $_ { centrifugo_grpc_api; }"))
    for '~ ^/a', '= /a', '/centrifugal.centrifugo.api.CentrifugoApi/';
good('small bodies of GRPC', $open . server('location /a {
     centrifugo_grpc_api; client_max_body_size 64k; }'),
     qr/\[warn\].*client_max_body_size 65536 is too small.*grpc_api/);

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
