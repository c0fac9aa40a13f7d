'use strict';

const $ = (id) => document.getElementById(id);
const words = ['amber', 'brisk', 'calm', 'dapper', 'eager', 'fond', 'glad',
    'hazel', 'ivory', 'jolly', 'kind', 'lucky', 'merry', 'noble', 'olive'];
const beasts = ['fox', 'heron', 'lynx', 'otter', 'owl', 'raven', 'seal',
    'stork', 'swift', 'wren'];
const pick = (list) => list[Math.floor(Math.random() * list.length)];

const me = sessionStorage.name
    || `${pick(words)}-${pick(beasts)}-${Math.floor(Math.random() * 90) + 10}`;

sessionStorage.name = me;
$('me').textContent = me;

async function getToken() {
    const res = await fetch(`/token?name=${encodeURIComponent(me)}`);

    if (!res.ok) {
        throw new Error(`no token: ${res.status}`);
    }

    return (await res.json()).token;
}

function item(name, text, when) {
    const node = document.createElement('li');
    const head = document.createElement('small');
    const body = document.createElement('p');

    node.className = name === me ? 'message mine' : 'message';
    head.textContent = when ? `${name} · ${when}` : name;
    body.textContent = text;
    node.append(head, document.createElement('br'), body);
    $('messages').querySelector('.hint')?.remove();

    return node;
}

function message({ data, info }, when) {
    return item(info?.connInfo?.name || info?.user || 'server',
        typeof data?.text === 'string' ? data.text : JSON.stringify(data),
        when);
}

function add(node) {
    $('messages').append(node);
    $('messages').scrollTop = $('messages').scrollHeight;
}

function state(name) {
    $('state').textContent = name;
    $('state').className = name;
    document.querySelector('button').disabled = name !== 'connected';
}

const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
const centrifuge = new Centrifuge(
    `${scheme}://${location.host}/connection/websocket`, { getToken });

centrifuge.on('connecting', () => state('connecting'));
centrifuge.on('disconnected', () => state('disconnected'));

const lobby = centrifuge.newSubscription('chat:lobby');

// After a lost connection what was missed comes as publications.  A new page
// reads the messages before the place where its subscription begins.

lobby.on('subscribed', async ({ recovered, streamPosition }) => {
    state('connected');

    if (recovered) {
        return;
    }

    document.querySelectorAll('.message').forEach((node) => node.remove());

    try {
        const { publications } = await lobby.history({
            limit: 50,
            reverse: true,
            since: { ...streamPosition, offset: streamPosition.offset + 1 },
        });

        $('messages').prepend(...publications.reverse().map((p) => message(p)));
        $('messages').scrollTop = $('messages').scrollHeight;
    } catch (err) {
        add(item('error', err.message));
    }
});

lobby.on('publication', (publication) => add(message(publication,
    new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }))));

lobby.subscribe();
centrifuge.connect();

$('form').addEventListener('submit', async (event) => {
    const text = $('text').value.trim();

    event.preventDefault();

    if (text) {
        $('text').value = '';

        try {
            await lobby.publish({ text });
        } catch (err) {
            add(item('error', err.message));
        }
    }
});
