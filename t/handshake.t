# The WebSocket handshake, through Test::Nginx.

use Test::Nginx::Socket 'no_plan';

our $main = "load_module $ENV{NGX_CENTRIFUGO_MODULE};";
our $http = <<'EOC';
    centrifugo_hub main {
        zone 4m;
        allow_anonymous_connect_without_token on;
        allowed_origins https://example.com https://*.example.org;
    }
EOC
our $config = 'location /ws { centrifugo_websocket; }';
our $upgrade = "Connection: close, Upgrade\nUpgrade: WebSocket\n";
our $key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";

no_shuffle();
run_tests();

__DATA__

=== TEST 1: POST
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
POST /ws
--- error_code: 405
--- response_headers
Allow: GET
Content-Type: text/plain
--- response_body
A WebSocket handshake is a GET request.

=== TEST 2: HTTP/1.0
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- raw_request eval
"GET /ws HTTP/1.0\r\nHost: a\r\n\r\n"
--- error_code: 400

=== TEST 3: no Upgrade
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
GET /ws
--- error_code: 426
--- response_headers
Upgrade: websocket

=== TEST 4: Connection without upgrade
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
GET /ws
--- more_headers
Upgrade: websocket
--- error_code: 400

=== TEST 5: no key
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
GET /ws
--- more_headers eval: $::upgrade
--- error_code: 400

=== TEST 6: version 8
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
GET /ws
--- more_headers eval: $::upgrade . $::key . "Sec-WebSocket-Version: 8"
--- error_code: 426
--- response_headers
Sec-WebSocket-Version: 13

=== TEST 7: a page of another site
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
GET /ws
--- more_headers eval
$::upgrade . $::key . "Sec-WebSocket-Version: 13\nOrigin: https://evil.org"
--- error_code: 403

=== TEST 8: a handshake
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- raw_request eval
"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r
Sec-WebSocket-Protocol: a, centrifuge-json\r
Origin: https://a.example.org\r\n\r\n\x88\x80abcd"
--- error_code: 101
--- raw_response_headers_like eval
qr/Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n.*Sec-WebSocket-Protocol: centrifuge-json/s
--- ignore_response
