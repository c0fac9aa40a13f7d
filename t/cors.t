# CORS headers of client endpoints, and preflight requests.

use Test::Nginx::Socket 'no_plan';

our $main = "load_module $ENV{NGX_CENTRIFUGO_MODULE};";
our $http = <<'EOC';
    centrifugo_hub main {
        zone 4m;
        allow_anonymous_connect_without_token on;
        allowed_origins https://example.com https://*.example.org;
    }
    centrifugo_hub any {
        zone 4m;
        allow_anonymous_connect_without_token on;
        allowed_origins *;
    }
    centrifugo_hub none { zone 4m; client_insecure on; api_insecure on; }
EOC
our $config = <<'EOC';
    location /ws { centrifugo_websocket main; }
    location /any { centrifugo_websocket any; }
    location /none { centrifugo_websocket none; }
    location = /health { centrifugo_health main; }
    location = /api/info { centrifugo_api none; }
EOC
our $absent = <<'EOC';
Access-Control-Allow-Origin:
Access-Control-Allow-Credentials:
Access-Control-Allow-Methods:
Access-Control-Allow-Headers:
Access-Control-Max-Age:
Vary:
EOC

no_shuffle();
run_tests();

__DATA__

=== TEST 1: a preflight
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
OPTIONS /ws
--- more_headers
Origin: https://example.com
Access-Control-Request-Method: GET
Access-Control-Request-Headers: X-One, content-type
--- error_code: 204
--- response_headers
Access-Control-Allow-Origin: https://example.com
Access-Control-Allow-Credentials: true
Access-Control-Allow-Methods: GET, OPTIONS
Access-Control-Allow-Headers: X-One, content-type
Access-Control-Max-Age: 300
Vary: Origin
Content-Length:
--- response_body

=== TEST 2: a preflight that asks for no headers; the case of its origin stays
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
OPTIONS /ws
--- more_headers
Origin: https://Chat.Example.ORG
--- error_code: 204
--- response_headers
Access-Control-Allow-Origin: https://Chat.Example.ORG
Access-Control-Allow-Headers:
Access-Control-Max-Age: 300

=== TEST 3: a preflight of an origin that is not allowed
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
OPTIONS /ws
--- more_headers
Origin: https://example.net
Access-Control-Request-Headers: X-One
--- error_code: 204
--- response_headers eval: $::absent

=== TEST 4: a preflight without an origin
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
OPTIONS /ws
--- more_headers
Access-Control-Request-Headers: X-One
--- error_code: 204
--- response_headers eval: $::absent

=== TEST 5: no allowed_origins
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
OPTIONS /none
--- more_headers
Origin: https://example.com
--- error_code: 204
--- response_headers eval: $::absent

=== TEST 6: all origins: the one that asks is named
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
OPTIONS /any
--- more_headers
Origin: null
--- error_code: 204
--- response_headers
Access-Control-Allow-Origin: null
Access-Control-Allow-Credentials: true

=== TEST 7: an answer that is no upgrade
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
GET /ws
--- more_headers
Origin: https://example.com
--- error_code: 426
--- response_headers
Upgrade: websocket
Access-Control-Allow-Origin: https://example.com
Access-Control-Allow-Credentials: true
Access-Control-Allow-Methods:
Access-Control-Max-Age:
Vary: Origin

=== TEST 8: the same without an origin
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
GET /ws
--- error_code: 426
--- response_headers eval: $::absent

=== TEST 9: a wrong method
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
POST /ws
--- more_headers
Origin: https://example.com
--- error_code: 405
--- response_headers
Allow: GET
Access-Control-Allow-Origin: https://example.com

=== TEST 10: an upgrade of an origin that is not allowed
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request
GET /ws
--- more_headers
Connection: close, Upgrade
Upgrade: websocket
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Version: 13
Origin: https://example.net
--- error_code: 403
--- response_headers eval: $::absent

=== TEST 11: the health and the API are not for pages
--- main_config eval: $::main
--- http_config eval: $::http
--- config eval: $::config
--- request eval
["GET /health", "OPTIONS /api/info"]
--- more_headers
Origin: https://example.com
--- error_code eval
[200, 405]
--- response_headers eval
[$::absent, $::absent]
