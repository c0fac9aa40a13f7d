# The same with the package PyJWT.

import os
import time

import jwt

SECRET = os.environ["CENTRIFUGO_SECRET"]    # token_hmac_secret_key


def connection_token(user, ttl=600, **claims):
    return jwt.encode({"sub": str(user), "exp": int(time.time()) + ttl,
                       **claims}, SECRET, algorithm="HS256")


def subscription_token(user, channel, ttl=600, **claims):
    return connection_token(user, ttl, channel=channel, **claims)


if __name__ == "__main__":
    import sys

    user, channel = sys.argv[1:]
    print(connection_token(user, info={"name": "Zoë"}))
    print(subscription_token(user, channel))
