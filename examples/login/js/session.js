// The user of a cookie "session=USER.MAC", or an empty text.  The application
// sets it; the key is in the environment ("env SESSION_KEY;" in nginx.conf).

import crypto from 'crypto';

function user(r) {
    var m = /(?:^|; *)session=([-\w]+)\.([-\w]+)(?:;|$)/
        .exec(r.headersIn.Cookie || '');

    if (!m || !process.env.SESSION_KEY) {
        return '';
    }

    var mac = crypto.createHmac('sha256', process.env.SESSION_KEY)
        .update(m[1]).digest('base64url');

    return mac === m[2] ? m[1] : '';
}

export default { user };
