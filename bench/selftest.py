#!/usr/bin/env python3
"""Checks cfload against a small server that does wrong on purpose.

    selftest.py PATH_OF_CFLOAD [NAME ...]
"""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import struct
import sys
import time
import uuid
import zlib

DEFLATE = ('Sec-WebSocket-Extensions: permessage-deflate; '
           'server_no_context_takeover; client_no_context_takeover\r\n')
GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'


def frame(payload, opcode=1, fin=True, rsv=0):
    n = len(payload)
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    if n < 126:
        return head + bytes([n]) + payload
    if n < 65536:
        return head + b'\x7e' + struct.pack('>H', n) + payload
    return head + b'\x7f' + struct.pack('>Q', n) + payload


class Peer:
    """One WebSocket client of the fake server."""

    def __init__(self, server, number, reader, writer):
        self.server = server
        self.number = number
        self.reader = reader
        self.writer = writer
        self.channels = set()
        self.count = 0          # publications so far
        self.held = None
        self.batch = []
        self.pongs = 0
        self.id = str(uuid.uuid4())
        self.user = ''
        self.observes = False

    def send(self, data):
        if not self.writer.is_closing():
            self.writer.write(data)

    def reply(self, text):
        self.flush()
        self.send(frame(text.encode()))

    def flush(self):
        if self.batch:
            self.send(frame(b'\n'.join(self.batch)))
            self.batch = []

    def close(self, code):
        self.flush()
        self.send(frame(struct.pack('>H', code), 8))
        self.writer.close()
        self.server.peers.discard(self)

    def push(self, channel, data):
        if channel not in self.channels:
            return
        self.count += 1
        line = ('{"push":{"channel":"%s","pub":{"data":%s}}}'
                % (channel, data)).encode()
        for part in self.server.fault(self, self.count, line):
            self.server.deliver(self, part)

    async def run(self):
        while True:
            head = await self.reader.readexactly(2)
            n = head[1] & 127
            if not head[1] & 128:
                self.server.complaints.append('a frame without a mask')
            if n == 126:
                n, = struct.unpack('>H', await self.reader.readexactly(2))
            mask = await self.reader.readexactly(4)
            body = await self.reader.readexactly(n)
            body = bytes(b ^ mask[i & 3] for i, b in enumerate(body))
            opcode = head[0] & 15
            if opcode == 8:
                self.flush()
                self.send(frame(body[:2], 8))
                return
            if opcode == 10:
                self.server.ws_pongs += 1
            elif opcode == 1:
                for line in body.decode().split('\n'):
                    self.command(json.loads(line))

    def command(self, c):
        s = self.server
        if c == {}:
            s.pongs += 1
        elif 'connect' in c:
            s.tokens.add(c['connect'].get('token'))
            self.reply('{"id":%d,"connect":{"client":"%s","version":"0",'
                       '"ping":25,"pong":true}}' % (c['id'], self.id))
            token = (c['connect'].get('token') or '').split('.')
            if s.secret:
                self.user = json.loads(unbase64(token[1]))['sub']
                sign = hmac.digest(s.secret, '.'.join(token[:2]).encode(),
                                   'sha256')
                if unbase64(token[2]) != sign:
                    s.complaints.append('a wrong signature')
        elif 'subscribe' in c:
            if s.refuse_subscribe and self.number == 1:
                self.reply('{"id":%d,"error":{"code":103,"message":'
                           '"permission denied"}}' % c['id'])
                return
            self.reply('{"id":%d,"subscribe":{}}' % c['id'])
            self.channels.add(c['subscribe']['channel'])
            self.observes = c['subscribe'].get('join_leave', False)
            s.subscribed += 1
            s.event(self, 'join')
        elif 'presence' in c:
            there = s.listed([p for p in s.peers if p.channels])
            self.reply('{"id":%d,"presence":{"presence":{%s}}}' % (
                c['id'], ','.join('"%s":%s' % (p.id, p.info())
                                  for p in there)))
        elif 'presence_stats' in c:
            there = [p for p in s.peers if p.channels]
            self.reply('{"id":%d,"presence_stats":%s}' % (
                c['id'], json.dumps(s.counted(
                    {'num_clients': len(there),
                     'num_users': len({p.user for p in there})}))))
        elif 'unsubscribe' in c:
            self.gone()
            self.reply('{"id":%d,"unsubscribe":{}}' % c['id'])
        else:
            s.complaints.append('an unknown command: %r' % c)

    def gone(self):
        if self.channels:
            self.channels.clear()
            self.server.event(self, 'leave')

    def info(self):
        return '{"user":"%s","client":"%s"}' % (self.user, self.id)


def unbase64(text):
    return base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))


class Server:

    def __init__(self, fault=None, deliver=None, api=None, refuse=False,
                 events=None, listed=None, counted=None, secret=None):
        self.fault = fault or (lambda peer, n, line: [line])
        self.how = deliver
        self.api = api
        self.refuse_subscribe = refuse
        self.events = events or (lambda n, line: [line])
        self.listed = listed or (lambda there: there)
        self.counted = counted or (lambda stats: stats)
        self.secret = secret
        self.nevents = 0
        self.peers = set()
        self.serial = 0
        self.published = 0
        self.pongs = 0
        self.ws_pongs = 0
        self.subscribed = 0
        self.tokens = set()
        self.complaints = []

    def deliver(self, peer, line):
        if callable(line):
            line()
        elif self.how:
            self.how(peer, line)
        else:
            peer.send(frame(line))

    # joins and leaves; the first observer may get wrong ones

    def event(self, who, what):
        self.nevents += 1
        line = '{"push":{"channel":"bench","%s":{"info":%s}}}' % (
            what, who.info())
        lines = self.events(self.nevents, line)
        for peer in sorted((p for p in self.peers if p.observes),
                           key=lambda p: p.number):
            for part in lines:
                peer.reply(part)
            lines = [line]

    async def start(self):
        self.listener = await asyncio.start_server(
            self.accept, '127.0.0.1', 0, backlog=512)
        self.port = self.listener.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        try:
            await self.http(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def http(self, reader, writer):
        while True:
            head = (await reader.readuntil(b'\r\n\r\n')).decode()
            key = re.search(r'(?i)sec-websocket-key: (\S+)', head)
            if key:
                await self.websocket(key.group(1), reader, writer,
                                     head.split()[1],
                                     'permessage-deflate' in head)
                return
            n = int(re.search(r'(?i)content-length: (\d+)', head).group(1))
            body = (await reader.readexactly(n)).decode()
            status, text = self.publish(head.split()[1], body)
            writer.write(('HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s'
                          % (status, len(text), text)).encode())

    async def websocket(self, key, reader, writer, path, deflate):
        accept = base64.b64encode(
            hashlib.sha1((key + GUID).encode()).digest()).decode()
        writer.write(('HTTP/1.1 101 Switching Protocols\r\n'
                      'Upgrade: websocket\r\nConnection: Upgrade\r\n'
                      'Sec-WebSocket-Accept: %s\r\n%s\r\n' % (
                          accept, DEFLATE if deflate else '')).encode())
        self.serial += 1
        peer = Peer(self, self.serial, reader, writer)
        self.peers.add(peer)
        peer.user = path.partition('user=')[2]
        try:
            await peer.run()
        finally:
            self.peers.discard(peer)
            peer.gone()

    def publish(self, path, body):
        answers = []
        for line in body.split('\n'):
            prefix = '{"channel":"'
            if path.endswith('/api'):
                prefix = '{"method":"publish","params":' + prefix
                line = line[:-1]
            if not line.startswith(prefix):
                self.complaints.append('a bad body: ' + line)
            channel, data = re.fullmatch(
                r'([^"]+)","data":(.*)\}', line[len(prefix):]).groups()
            self.published += 1
            what = self.api(self.published) if self.api else None
            if what and what.startswith('HTTP '):
                return what[5:], ''
            if what:
                answers.append(what)
                continue
            for peer in list(self.peers):
                peer.push(channel, data)
            answers.append('{"result":{}}')
        if not self.how or self.how is not batched:
            for peer in list(self.peers):
                peer.flush()
        return '200 OK', '\n'.join(answers)


# what the first client gets; all others get everything

def first(fault):
    return lambda peer, n, line: (fault(peer, n, line)
                                  if peer.number == 1 else [line])


def drop(*which):
    return first(lambda peer, n, line: [] if n in which else [line])


def swap(peer, n, line):
    if n == 5:
        peer.held = line
        return []
    if n == 6:
        return [line, peer.held]
    return [line]


def flip(at, bit=1, which=5):
    def fault(peer, n, line):
        if n != which:
            return [line]
        i = at(line)
        return [line[:i] + bytes([line[i] ^ bit]) + line[i + 1:]]
    return first(fault)


def then(fault, at, what):
    def both(peer, n, line):
        parts = fault(peer, n, line)
        if n == at:
            parts = parts + [lambda: what(peer)]
        return parts
    return first(both)


def keep(peer, n, line):
    return [line]


def cut(peer):
    peer.writer.transport.abort()
    peer.server.peers.discard(peer)


# ways to put the same replies on the wire

def batched(peer, line):
    peer.batch.append(line)
    if len(peer.batch) == 7:
        peer.flush()


def fragments(peer, line):
    peer.send(frame(line[:50], 1, False) + frame(b'hello', 9)
              + frame(b'', 0, False) + frame(line[50:], 0))


def packed(line):
    c = zlib.compressobj(1, zlib.DEFLATED, -15)
    return (c.compress(line) + c.flush(zlib.Z_SYNC_FLUSH))[:-4]


def deflated(peer, line):
    line = packed(line)
    peer.send(frame(line, rsv=0x40) if peer.count % 2 else
              frame(line[:9], 1, False, 0x40) + frame(line[9:], 0))


def bytewise(peer, line):
    data = frame(line)
    peer.trickle = getattr(peer, 'trickle', b'') + data
    if not getattr(peer, 'dripping', None):
        peer.dripping = asyncio.ensure_future(drip(peer))


async def drip(peer):
    while peer.trickle:
        peer.send(peer.trickle[:61])
        peer.trickle = peer.trickle[61:]
        await asyncio.sleep(0)
    peer.dripping = None


def spaced(peer, line):
    channel, data = re.fullmatch(
        r'{"push":{"channel":"(.*)","pub":{"data":(.*)}}}',
        line.decode()).groups()
    peer.send(frame(b'{}'))
    peer.send(frame((
        '{ "push" : { "pub": { "offset" : 7, "tags": {"a": "\\u00e9", "b":'
        ' [1, -2.5e3, null, []]}, "data": %s, "info":{"user":"u", "client":'
        '"c"} } , "channel": "%s" } }\n' % (data, channel)).encode()))


def offset(peer, line):
    peer.send(frame(line[:-3] + b',"offset":12}}}'))


CLIENTS = 10
COUNT = 40
ALL = CLIENTS * COUNT
GOOD = {'ok': True, 'connected': CLIENTS, 'failed': 0, 'published': COUNT,
        'acked': COUNT, 'api_errors': 0, 'deliveries': ALL, 'expected': ALL,
        'lost': 0, 'explained': 0, 'doubled': 0, 'reordered': 0,
        'damaged': 0, 'stray': 0, 'protocol_errors': 0, 'broken': 0,
        'closes': {}, 'unsubscribes': {}, 'open_at_end': CLIENTS}

QUICK = ['--settle', '0.4']


def bad(**changes):
    return dict(GOOD, ok=False, **changes)


def good(**changes):
    return dict(GOOD, **changes)


REFUSED = '{"error":{"code":107,"message":"bad request"}}'

filler = lambda line: line.index(b'"f":"') + 20
number = lambda line: line.index(b'"k":"') + 5 + 19
clock = lambda line: line.index(b'"k":"') + 5 + 30
colon = lambda line: line.index(b'"f":"') + 3
outer = lambda line: line.index(b'"pub":{') + 6
name = lambda line: line.index(b'bench')

# name, the server, more arguments, what has to be in the report

TESTS = [
    ('clean', Server(), [], good()),
    ('clean, two processes', Server(), ['--procs', '2'], good()),
    ('batches in one body', Server(), ['--batch', '10'], good(requests=4)),
    ('publishers', Server(), ['--publishers', '4'], good()),
    ('channels, publishers', Server(),
     ['--channels', 'c%d', '--channel-count', '3', '--publishers', '4',
      '--subs', '3', '--batch', '4'], good(subscriptions=3 * CLIENTS)),
    ('a channel each', Server(),
     ['--channels', 'c%dx', '--subs', '2', '--publishers', '3'],
     good(deliveries=COUNT, expected=COUNT)),
    ('a token', Server(), ['--token', 'abc.def.ghi'], good()),
    ('several replies in a message', Server(deliver=batched),
     ['--count', '42'], good(published=42, acked=42, deliveries=420,
                             expected=420)),
    ('fragments and WebSocket pings', Server(deliver=fragments), [], good()),
    ('compressed', Server(deliver=deflated), ['--deflate'],
     good(deflated=ALL)),
    ('not compressed but agreed', Server(), ['--deflate'], good(deflated=0)),
    ('compressed and damaged', Server(then(keep, 20, lambda p: p.send(
        frame(b'\xf2\x00\x11\x00\x00', rsv=0x40)))), QUICK + ['--deflate'],
     bad(protocol_errors=1, open_at_end=CLIENTS - 1, deflated=1,
         deliveries=ALL - 20, expected=ALL - 20)),
    ('compressed and not agreed', Server(then(keep, 20, lambda p: p.send(
        frame(packed(b'{}'), rsv=0x40)))), QUICK,
     bad(protocol_errors=1, open_at_end=CLIENTS - 1, deflated=0,
         deliveries=ALL - 20, expected=ALL - 20)),
    ('frames in pieces', Server(deliver=bytewise), [], good()),
    ('large frames in pieces', Server(),
     ['--size', '100000', '--count', '10'],
     good(published=10, acked=10, deliveries=100, expected=100)),
    ('other keys, blanks, pings', Server(deliver=spaced), [],
     good(pings=ALL)),
    ('offsets', Server(deliver=offset), [], good()),
    ('one lost', Server(drop(5)), QUICK, bad(deliveries=ALL - 1, lost=1)),
    ('the first lost', Server(drop(1)), QUICK,
     bad(deliveries=ALL - 1, lost=1)),
    ('the last lost', Server(drop(COUNT)), QUICK,
     bad(deliveries=ALL - 1, lost=1)),
    ('some lost', Server(drop(3, 4, 9, COUNT)), QUICK,
     bad(deliveries=ALL - 4, lost=4)),
    ('all lost', Server(lambda peer, n, line: []), QUICK,
     bad(deliveries=0, lost=ALL)),
    ('one lost among channels', Server(drop(5)),
     QUICK + ['--channels', 'c%d', '--channel-count', '3', '--subs', '3',
              '--publishers', '2'],
     bad(subscriptions=3 * CLIENTS, deliveries=ALL - 1, lost=1)),
    ('one doubled', Server(first(
        lambda p, n, line: [line] * (2 if n == 5 else 1))), [],
     bad(deliveries=ALL + 1, doubled=1)),
    ('the last doubled', Server(first(
        lambda p, n, line: [line] * (2 if n == COUNT else 1))), [],
     bad(deliveries=ALL + 1, doubled=1)),
    ('two swapped', Server(first(swap)), [], bad(reordered=1)),
    ('filler damaged', Server(flip(filler)), [], bad(damaged=1)),
    ('last filler damaged', Server(flip(filler, which=COUNT)), [],
     bad(damaged=1)),
    ('number damaged', Server(flip(number)), [], bad(damaged=1)),
    ('no digit', Server(flip(number, 0x40)), [], bad(damaged=1)),
    ('time damaged', Server(flip(clock)), [], bad(damaged=1)),
    ('JSON of the data damaged', Server(flip(colon)), [], bad(damaged=1)),
    ('JSON damaged', Server(flip(outer)), QUICK,
     bad(protocol_errors=1, deliveries=ALL - 1, lost=1)),
    ('another channel', Server(flip(name)), QUICK, bad(stray=1, lost=1)),
    ('no JSON', Server(first(
        lambda p, n, line: [line] + ([b'nonsense'] if n == 5 else []))), [],
     bad(protocol_errors=1)),
    ('a wrong frame', Server(then(keep, 20, lambda p: p.send(
        b'\xc1\x02{}'))), QUICK,
     bad(protocol_errors=1, open_at_end=CLIENTS - 1,
         deliveries=ALL - 20, expected=ALL - 20)),
    ('closed for being slow', Server(then(drop(7), 20,
                                          lambda p: p.close(3008))), [],
     good(closes={'3008': 1}, explained=1, deliveries=ALL - 21,
          expected=ALL - 20, open_at_end=CLIENTS - 1)),
    ('closed, comes back', Server(then(keep, 10, lambda p: p.close(3001))),
     ['--reconnect', '--pub-rate', '40'],
     good(closes={'3001': 1}, reconnects=1, deliveries=None,
          expected=None)),
    ('closed for good', Server(then(keep, 10, lambda p: p.close(3500))),
     ['--reconnect'],
     good(closes={'3500': 1}, reconnects=0, open_at_end=CLIENTS - 1,
          deliveries=ALL - 30, expected=ALL - 30)),
    ('connection cut', Server(then(keep, 10, cut)), [],
     bad(broken=1, open_at_end=CLIENTS - 1, deliveries=ALL - 30,
         expected=ALL - 30)),
    ('unsubscribed', Server(then(keep, COUNT, lambda p: p.reply(
        '{"push":{"channel":"bench","unsubscribe":{"code":2000,'
        '"reason":"x"}}}'))), [], good(unsubscribes={'2000': 1})),
    ('a publish refused', Server(api=lambda n: REFUSED if n == 5 else None),
     [], bad(acked=COUNT - 1, api_errors=1, api_error_codes={'107': 1},
             deliveries=ALL - CLIENTS, expected=ALL - CLIENTS)),
    ('the last refused in its body',
     Server(api=lambda n: REFUSED if n % 5 == 0 else None),
     ['--batch', '5'],
     bad(acked=32, api_errors=8, api_error_codes={'107': 8},
         deliveries=320, expected=320)),
    ('refused and one lost',
     Server(drop(20), api=lambda n: REFUSED if n == 5 else None), QUICK,
     bad(acked=COUNT - 1, api_errors=1, deliveries=ALL - CLIENTS - 1,
         expected=ALL - CLIENTS, lost=1)),
    ('HTTP 503', Server(api=lambda n: 'HTTP 503 Busy' if n == 5 else None),
     [], bad(acked=COUNT - 1, api_errors=1, api_error_codes={'503': 1},
             deliveries=ALL - CLIENTS, expected=ALL - CLIENTS)),
    ('a subscribe refused', Server(refuse=True), [],
     bad(connected=CLIENTS - 1, failed=1, errors={'103': 1},
         open_at_end=CLIENTS - 1, deliveries=ALL - COUNT,
         expected=ALL - COUNT)),
    ('churn of connections', Server(),
     ['--churn', '200', '--count', '200', '--pub-rate', '200'],
     good(published=200, acked=200, deliveries=None, expected=None)),
    ('churn of subscriptions', Server(),
     ['--churn', '200', '--count', '200', '--pub-rate', '200',
      '--churn-mode', 'subscribe'],
     good(published=200, acked=200, deliveries=None, expected=None)),
    ('lost in churn', Server(lambda p, n, line: [] if n % 5 == 3
                             else [line]),
     QUICK + ['--churn', '20', '--count', '200', '--pub-rate', '200'],
     bad(published=200, acked=200, deliveries=None, expected=None,
         lost=None)),
    ('idle', Server(), None,
     good(published=0, acked=0, deliveries=0, expected=0)),
]

# presence: the server, more arguments, what has to be in the report

HERE = {'disordered': 0, 'misstated': 0, 'strangers': 0, 'missing': 0,
        'surplus': 0, 'twice': 0, 'miscounted': 0, 'unanswered': 0,
        'observers': 3, 'whole': 3, 'channels': 1, 'clients': 30}


class Here(dict):
    pass


def here(**changes):
    return Here(HERE, ok=not changes, **changes)


def some(n):
    return lambda got: got >= n


def nth(which, lines):
    return lambda n, line: lines(line) if n == which else [line]


def swapped(line):
    return line.replace('"join"', '"x"').replace(
        '"leave"', '"join"').replace('"x"', '"leave"')


def renamed(there):
    class Other:
        id = str(uuid.uuid4())

        def info(self):
            return '{"user":"u1","client":"%s"}' % self.id
    return there[1:] + [Other()]


TESTS += [
    ('presence', Server(), [], here()),
    ('presence, tokens', Server(secret=b'abc'),
     ['--token-secret', 'abc'], here()),
    ('presence, a join lost', Server(events=nth(12, lambda line: [])), [],
     here(misstated=some(0), disordered=some(0))),
    ('presence, a join doubled',
     Server(events=nth(12, lambda line: [line, line])), [],
     here(disordered=1)),
    ('presence, a leave instead of a join',
     Server(events=nth(12, lambda line: [swapped(line)])), [],
     here(disordered=some(1), misstated=some(0))),
    ('presence, of nobody', Server(events=nth(
        12, lambda line: [line, line.replace('"user":"u', '"user":"x')])), [],
     here(strangers=1)),
    ('presence, one is missing', Server(listed=lambda there: there[1:]), [],
     here(missing=3)),
    ('presence, one is there twice',
     Server(listed=lambda there: there + there[:1]), [], here(twice=3)),
    ('presence, one is not there', Server(listed=renamed), [],
     here(missing=3, surplus=3)),
    ('presence, miscounted', Server(counted=lambda stats: dict(
        stats, num_clients=stats['num_clients'] + 1)), [],
     here(miscounted=3)),
    ('presence, users miscounted', Server(counted=lambda stats: dict(
        stats, num_users=stats['num_users'] - 1)), [], here(miscounted=3)),
]


async def presence(cfload, server, more, want):
    process = await asyncio.create_subprocess_exec(
        cfload, '--url', 'ws://127.0.0.1:%d/ws' % server.port, '--clients',
        '30', '--procs', '2', '--presence', '--observers', '3', '--users',
        '9', '--churn', '150', '--churn-mode', 'toggle', '--duration', '1',
        '--settle', '0.3', *more, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    server.listener.close()
    wrong = list(server.complaints)
    got = json.loads(out)
    found = dict(got['presence'], ok=got['ok'])
    for key, value in want.items():
        if not (value(found[key]) if callable(value) else found[key] == value):
            wrong.append('%s is %r' % (key, found[key]))
    if not want['ok'] and found['disordered'] + found['misstated'] == 0 \
            and callable(want['misstated']):
        wrong.append('nothing noticed')
    if got['churned'] < 80 or found['leaves'] < 100 or not (
            found['subscriptions'] < 30):
        wrong.append('churned %d' % got['churned'])
    if want['ok'] and err:
        wrong.append('warnings: %r' % err)
    if process.returncode != (0 if want['ok'] else 1):
        wrong.append('exit status %d' % process.returncode)
    return wrong


async def run(cfload, label, server, more, want):
    await server.start()
    if isinstance(want, Here):
        return await presence(cfload, server, more, want)
    url = '127.0.0.1:%d' % server.port
    args = [cfload, '--url', 'ws://%s/ws' % url, '--clients', str(CLIENTS)]
    if more is None:
        args += ['--idle', '0.3']
    else:
        args += ['--api', 'http://%s/api' % url, '--count', str(COUNT)] + more
    process = await asyncio.create_subprocess_exec(
        *args, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    server.listener.close()
    wrong = list(server.complaints)
    try:
        got = json.loads(out)
    except ValueError:
        return ['no JSON: %r %r' % (out, err)]
    for key, value in want.items():
        if value is not None and got[key] != value:
            wrong.append('%s is %r, not %r' % (key, got[key], value))
    if process.returncode != (0 if want['ok'] else 1):
        wrong.append('exit status %d' % process.returncode)
    if got['lost'] == 0 and want.get('lost', 0) is None:
        wrong.append('nothing lost')
    if label.startswith('churn') and (
            got['churned'] < 50
            or server.subscribed != got['subscriptions']):
        wrong.append('churned %d, subscribed %d and %d' % (
            got['churned'], got['subscriptions'], server.subscribed))
    if server.how is spaced and server.pongs != got['pings']:
        wrong.append('%d pongs' % server.pongs)
    if server.how is fragments and server.ws_pongs != ALL:
        wrong.append('%d WebSocket pongs' % server.ws_pongs)
    if '--token' in args and server.tokens != {'abc.def.ghi'}:
        wrong.append('tokens %r' % server.tokens)
    if server.how is None and server.published != got['published']:
        wrong.append('published %d' % server.published)
    if want['ok'] and err and not got['closes'] and not got['unsubscribes']:
        wrong.append('warnings: %r' % err)
    return wrong


async def main(cfload, names):
    failed = 0
    began = time.monotonic()
    tests = [t for t in TESTS if not names or t[0] in names]
    limit = asyncio.Semaphore(4)

    async def one(test):
        async with limit:
            return await run(cfload, *test)

    for test, wrong in zip(tests, await asyncio.gather(*map(one, tests))):
        if wrong:
            failed += 1
            print('not ok: %s: %s' % (test[0], '; '.join(wrong)))
    print('== cfload: %d of %d checks passed in %.1f s'
          % (len(tests) - failed, len(tests), time.monotonic() - began))
    return 1 if failed or not tests else 0


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2:])))
