<?php
// Tokens in PHP (Laravel, Symfony, ...) without a package.

function centrifugo_sign(array $claims): string
{
    $secret = getenv('CENTRIFUGO_SECRET');      // token_hmac_secret_key

    if ($secret === false || $secret === '') {
        throw new RuntimeException('CENTRIFUGO_SECRET is not set');
    }

    $part = fn (string $data): string
        => rtrim(strtr(base64_encode($data), '+/', '-_'), '=');

    $text = $part('{"alg":"HS256","typ":"JWT"}') . '.'
        . $part(json_encode($claims, JSON_THROW_ON_ERROR));

    return $text . '.' . $part(hash_hmac('sha256', $text, $secret, true));
}

function connection_token($user, int $ttl = 600, array $claims = []): string
{
    return centrifugo_sign(['sub' => (string) $user, 'exp' => time() + $ttl]
                           + $claims);
}

function subscription_token($user, string $channel, int $ttl = 600,
                            array $claims = []): string
{
    return connection_token($user, $ttl, ['channel' => $channel] + $claims);
}

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) {
    [, $user, $channel] = $argv;
    echo connection_token($user, 600, ['info' => ['name' => 'Zoë']]), "\n";
    echo subscription_token($user, $channel), "\n";
}
