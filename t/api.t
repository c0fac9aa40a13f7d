# The HTTP API, through Test::Nginx.

use Test::Nginx::Socket 'no_plan';

our $main = "load_module $ENV{NGX_CENTRIFUGO_MODULE};";
our $http = <<'EOC';
    centrifugo_hub main { zone 4m; api_key "k e"; namespace ns { } }
EOC
our $config = <<'EOC';
    location /api { centrifugo_api; client_max_body_size 1m; }
    location /health { centrifugo_health; }
    location /metrics { centrifugo_metrics; }
EOC

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(main_config => $::main);
    $block->set_value(http_config => $::http);
    $block->set_value(config => $::config);
});

no_shuffle();
run_tests();

__DATA__

=== TEST 1: 405 before 401
--- request
GET /api/publish
--- error_code: 405
--- response_headers
Allow: POST

=== TEST 2: no key
--- request
POST /api/publish
{"channel":"a","data":1}
--- error_code: 401
--- response_body:

=== TEST 3: X-API-Key
--- request
POST /api/publish
{"channel":"a","data":1}
--- more_headers
X-API-Key: k e
--- response_headers
Content-Type: application/json
--- response_body: {"result":{}}

=== TEST 4: a key in the query, decoded
--- request
POST /api/publish?api_key=k%20e
{"channel":"ns:a","data":1}
--- response_body: {"result":{}}

=== TEST 5: an unknown namespace
--- request
POST /api/publish?api_key=k%20e
{"channel":"no:a","data":1}
--- response_body: {"error":{"code":102,"message":"unknown channel"}}

=== TEST 6: a method that is not offered
--- request
POST /api/connections?api_key=k%20e
{}
--- error_code: 404

=== TEST 7: several commands in one body
--- request
POST /api?api_key=k%20e
{"id":1,"method":"publish","params":{"channel":"a","data":1}}
{"id":2,"method":"CONNECTIONS"}{"method":1,"params":{"channels":["a",""],"data":{}}}
--- response_body chop
{"id":1,"result":{}}
{"id":2,"error":{"code":104,"message":"not found"}}
{"result":{"responses":[{"result":{}},{"error":{"code":107,"message":"bad request"}}]}}

=== TEST 8: an unknown method
--- request
POST /api?api_key=k%20e
{"method":"nope"}
--- error_code: 400

=== TEST 9: health
--- request
GET /health
--- response_body: {}

=== TEST 10: metrics
--- request
GET /metrics
--- response_body_like eval
qr/centrifugo_node_num_clients\{hub="main"\} 0
.*\# TYPE centrifugo_client_recover counter
centrifugo_client_recover\{hub="main",recovered="yes"\} 0
centrifugo_client_recover\{hub="main",recovered="no"\} 0
.*centrifugo_hub_publications\{hub="main"\} 0
.*centrifugo_hub_evicted_total\{hub="main",kind="stream"\} 0
\# TYPE centrifugo_hub_expired_total counter
.*centrifugo_hub_zone_used_bytes\{hub="main",kind="history"\} 0
/s

=== TEST 11: methods for sessions of nobody
--- request
POST /api?api_key=k%20e
{"id":1,"method":"subscribe","params":{"user":"u","channel":"a"}}
{"id":2,"method":"unsubscribe","params":{"user":"u","channel":"no:a"}}
{"id":3,"method":"disconnect","params":{"user":"u","disconnect":{"code":5000}}}
{"id":4,"method":"refresh","params":{"user":"u","expired":true}}
--- response_body chop
{"id":1,"result":{}}
{"id":2,"error":{"code":102,"message":"unknown channel"}}
{"id":3,"error":{"code":107,"message":"bad request"}}
{"id":4,"result":{}}

=== TEST 12: presence is off
--- request
POST /api/presence?api_key=k%20e
{"channel":"a"}
--- response_body: {"error":{"code":108,"message":"not available"}}

=== TEST 13: channels of all workers
--- request
POST /api/channels?api_key=k%20e
{"pattern":"{a,b}*"}
--- response_body: {"result":{"channels":{}}}

=== TEST 14: info
--- request
POST /api/info?api_key=k%20e
{}
--- response_body_like chop
^\{"result":\{"nodes":\[\{"uid":"[0-9a-f-]{36}","name":"[^"]+_main","version":"[0-9.]+","num_clients":0,"num_users":0,"num_channels":0,("uptime":\d+,)?"num_subs":0\}\]\}\}$

=== TEST 15: a log line can't be forged
--- request
POST /api/publish?api_key=k%20e
{"channel":"no:\n\"x","data":1}
--- response_body: {"error":{"code":102,"message":"unknown channel"}}
--- error_log
publish to channel "no:\x0a\x22x" of hub "main" failed with 102 "unknown channel": its namespace is not configured

=== TEST 16: a batch
--- request
POST /api/batch?api_key=k%20e
{"commands":[{"publish":{"channel":"ns:a","data":1}},{"publish":{"channel":"no:a","data":1}},null,{}],"parallel":true}
--- response_body chop
{"replies":[{"publish":{}},{"error":{"code":102,"message":"unknown channel"}},{"error":{"code":107,"message":"bad request"}},{"error":{"code":104,"message":"not found"}}]}

=== TEST 17: history is off
--- request
POST /api/history?api_key=k%20e
{"channel":"a","limit":-1}
--- response_body: {"error":{"code":108,"message":"not available"}}
--- error_log
API command "history" of hub "main" with channel "a", user "", client "" failed with 108 "not available": history_size is 0

=== TEST 18: an error by the status
--- request
POST /api/publish?api_key=k%20e
{"channel":"no:a","data":1}
--- more_headers
X-Centrifugo-Error-Mode: transport
--- error_code: 404
--- response_body: {"code":102,"message":"unknown channel"}

=== TEST 19: options of publish where nothing is kept
--- request
POST /api/publish?api_key=k%20e
{"channel":"a","data":1,"skip_history":true,"delta":true,"idempotency_key":"k","version":1,"version_epoch":"e","tags":{"a":"b"}}
--- response_body: {"result":{}}
