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

function show(name, text) {
    const item = document.createElement('li');
    const head = document.createElement('small');
    const body = document.createElement('p');
    const list = $('messages');

    item.className = name === me ? 'message mine' : 'message';
    head.textContent = `${name} · ${new Date().toLocaleTimeString([],
        { hour: '2-digit', minute: '2-digit' })}`;
    body.textContent = text;

    item.append(head, document.createElement('br'), body);
    list.querySelector('.hint')?.remove();
    list.append(item);
    list.scrollTop = list.scrollHeight;
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

lobby.on('subscribed', () => state('connected'));
lobby.on('publication', ({ data, info }) => show(
    info?.connInfo?.name || info?.user || 'server',
    typeof data?.text === 'string' ? data.text : JSON.stringify(data)));

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
            show('error', err.message);
        }
    }
});
