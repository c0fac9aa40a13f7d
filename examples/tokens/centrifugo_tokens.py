# Tokens in Python (Django, Flask, ...) with the standard library alone.

import base64
import hashlib
import hmac
import json
import os
import time

SECRET = os.environ["CENTRIFUGO_SECRET"]    # token_hmac_secret_key


def part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def sign(claims):
    text = (part(b'{"alg":"HS256","typ":"JWT"}') + b"."
            + part(json.dumps(claims).encode()))
    mac = hmac.new(SECRET.encode(), text, hashlib.sha256).digest()

    return (text + b"." + part(mac)).decode()


def connection_token(user, ttl=600, **claims):
    return sign({"sub": str(user), "exp": int(time.time()) + ttl, **claims})


def subscription_token(user, channel, ttl=600, **claims):
    return connection_token(user, ttl, channel=channel, **claims)


if __name__ == "__main__":
    import sys

    user, channel = sys.argv[1:]
    print(connection_token(user, info={"name": "Zoë"}))
    print(subscription_token(user, channel))
