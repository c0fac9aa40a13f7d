// A connection token for whoever asks, good for an hour: the server side of
// the demo.  On a real site the application makes it after its own login.

import crypto from 'crypto';

function part(value) {
    return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function issue(r) {
    var name = String(r.args.name || '').slice(0, 32) || 'guest';
    var claims = {
        sub: name,
        info: { name: name },
        exp: Math.floor(Date.now() / 1000) + 3600
    };
    var text = part({ alg: 'HS256', typ: 'JWT' }) + '.' + part(claims);
    var sign = crypto.createHmac('sha256', r.variables.token_secret)
                     .update(text).digest('base64url');

    r.headersOut['Content-Type'] = 'application/json';
    r.headersOut['Cache-Control'] = 'no-store';
    r.return(200, JSON.stringify({ token: text + '.' + sign }));
}

export default { issue };
