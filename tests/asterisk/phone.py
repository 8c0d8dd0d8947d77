"""SIP phones, any number of them on one port: registration, outgoing and incoming calls, digits by RFC 4733. Only
the parts of SIP that Asterisk needs."""

import asyncio
import hashlib
import random
import re
import struct
import time
import uuid

# How long a request is repeated without a response, and after which pauses (RFC 3261, T1 and T2).
PATIENCE = 32
T1, T2 = 0.5, 4.0


class Message:
    """A request or a response."""

    def __init__(self, data):
        head, _, self.body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        self.start, *lines = head.split("\r\n")
        self.headers = []
        for line in lines:
            name, _, value = line.partition(":")
            self.headers.append((name.strip().lower(), value.strip()))
        words = self.start.split(" ", 2)
        self.status = int(words[1]) if words[0] == "SIP/2.0" else None
        self.method = self.get("cseq").split()[-1] if self.status else words[0]

    def get(self, name):
        return next((value for known, value in self.headers if known == name), "")

    def all(self, name):
        return [value for known, value in self.headers if known == name]

    def branch(self):
        return re.search(r"branch=([^;,\s]+)", self.get("via")).group(1)


def digest(header, user, password, method, uri):
    """The response to a challenge (RFC 2617, MD5 with qop)."""
    given = dict(re.findall(r'(\w+)="?([^",]+)"?', header))
    hashed = lambda text: hashlib.md5(text.encode()).hexdigest()
    own, count = uuid.uuid4().hex[:16], "00000001"
    secret = hashed(f"{user}:{given['realm']}:{password}")
    middle = f"{given['nonce']}:{count}:{own}:auth" if "qop" in given else given["nonce"]
    response = hashed(f"{secret}:{middle}:{hashed(f'{method}:{uri}')}")
    text = (
        f'Digest username="{user}", realm="{given["realm"]}", nonce="{given["nonce"]}", uri="{uri}", '
        f'response="{response}", algorithm=MD5'
    )
    if "qop" in given:
        text += f', qop=auth, nc={count}, cnonce="{own}"'
    if "opaque" in given:
        text += f', opaque="{given["opaque"]}"'
    return text


class Line(asyncio.DatagramProtocol):
    """A UDP port that any number of phones share."""

    def __init__(self, pbx):
        self.pbx = pbx
        self.transactions = {}
        self.calls = {}
        self.phones = {}

    @classmethod
    async def open(cls, pbx):
        loop = asyncio.get_running_loop()
        # Enough buffer for hundreds of concurrent calls.
        _, line = await loop.create_datagram_endpoint(lambda: cls(pbx), local_addr=("127.0.0.1", 0))
        line.transport.get_extra_info("socket").setsockopt(1, 8, 8 * 1024 * 1024)
        line.sound, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        return line

    def connection_made(self, transport):
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def close(self):
        self.transport.close()
        self.sound.close()

    def send(self, text):
        self.transport.sendto(text.encode("utf-8", "surrogateescape"), self.pbx)

    def datagram_received(self, data, address):
        message = Message(data)
        if message.status:
            waiting = self.transactions.get((message.branch(), message.method))
            if waiting:
                waiting.put_nowait(message)
            elif message.method == "INVITE" and message.status >= 200:
                # A repeated response, because our ACK was lost.
                call = self.calls.get(message.get("call-id"))
                if call:
                    call.acknowledge(message)
            return
        call = self.calls.get(message.get("call-id"))
        if call:
            call.asked(message)
        elif message.method == "INVITE":
            user = re.search(r"sip:([^@;>]+)", message.start).group(1)
            phone = self.phones.get(user)
            if phone:
                phone.rung(message)
            else:
                self.send(response(message, "404 Not Found"))
        elif message.method in ("OPTIONS", "NOTIFY"):
            self.send(response(message, "200 OK"))
        elif message.method != "ACK":
            self.send(response(message, "481 Call Does Not Exist"))

    async def request(self, text, branch, method, on_provisional=None):
        """Sends a request repeatedly until the final response; returns None without one."""
        answers = self.transactions[branch, method] = asyncio.Queue()
        pause, is_heard, begun = T1, False, time.monotonic()
        self.send(text)
        try:
            while time.monotonic() - begun < PATIENCE * (8 if is_heard else 1):
                try:
                    message = await asyncio.wait_for(answers.get(), pause)
                except asyncio.TimeoutError:
                    if not (is_heard and method == "INVITE"):
                        self.send(text)
                        pause = min(pause * 2, T2)
                    continue
                if message.status >= 200:
                    return message
                is_heard = True
                if on_provisional:
                    on_provisional(message)
            return None
        finally:
            del self.transactions[branch, method]

    def sdp(self):
        port = self.sound.get_extra_info("sockname")[1]
        return (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
            "a=fmtp:101 0-15\r\na=sendrecv\r\n"
        )


def response(request, status, tag="", more="", body=""):
    to = request.get("to")
    if tag and "tag=" not in to:
        to += f";tag={tag}"
    text = f"SIP/2.0 {status}\r\n" + "".join(f"Via: {via}\r\n" for via in request.all("via"))
    text += f"From: {request.get('from')}\r\nTo: {to}\r\nCall-ID: {request.get('call-id')}\r\nCSeq: {request.get('cseq')}\r\n"
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return f"{text}{more}{kind}Content-Length: {len(body)}\r\n\r\n{body}"


class Phone:
    """A phone of an endpoint. `name` is its contact's name; several phones of one endpoint have different names."""

    def __init__(self, line, user, password, name=None):
        self.line, self.user, self.password, self.name = line, user, password, name or user
        line.phones[self.name] = self
        # Calls that rang here.
        self.rings = 0
        self.answers = False

    async def send(self, method, uri, call_id, tag, to, number, more="", body="", source=None, on_provisional=None):
        """Sends a request with authentication; returns the last response and its branch."""
        source = source or f"<sip:{self.user}@127.0.0.1>"
        authorization = ""
        for attempt in range(2):
            branch = "z9hG4bK" + uuid.uuid4().hex
            kind = "Content-Type: application/sdp\r\n" if body else ""
            text = (
                f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{self.line.port};branch={branch};rport\r\n"
                f"Max-Forwards: 70\r\nFrom: {source};tag={tag}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"
                f"CSeq: {number + attempt} {method}\r\nContact: <sip:{self.name}@127.0.0.1:{self.line.port}>\r\n"
                f"{authorization}{more}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
            )
            self.sent = (branch, number + attempt, text)
            answer = await self.line.request(text, branch, method, on_provisional)
            if answer is None or answer.status not in (401, 407) or attempt:
                break
            if method == "INVITE":
                self.line.send(acknowledgement(text, answer, branch))
            asked, given = (
                ("www-authenticate", "Authorization")
                if answer.status == 401
                else ("proxy-authenticate", "Proxy-Authorization")
            )
            authorization = f"{given}: {digest(answer.get(asked), self.user, self.password, method, uri)}\r\n"
        return answer, text, branch

    async def register(self, expires=3600):
        uri = f"sip:{self.line.pbx[0]}:{self.line.pbx[1]}"
        answer, _, _ = await self.send(
            "REGISTER", uri, uuid.uuid4().hex, uuid.uuid4().hex[:8], f"<sip:{self.user}@127.0.0.1>", 1,
            f"Expires: {expires}\r\n",
        )
        if answer is None or answer.status != 200:
            raise RuntimeError(f"{self.user} could not register: {answer and answer.start}")

    def dial(self, number, source=None):
        call = Call(self, number, source)
        call.task = asyncio.create_task(call.run())
        return call

    def rung(self, invite):
        self.rings += 1
        tag = uuid.uuid4().hex[:8]
        contact = f"Contact: <sip:{self.name}@127.0.0.1:{self.line.port}>\r\n"
        self.line.send(response(invite, "180 Ringing", tag, contact))
        Incoming(self, invite, tag)
        if self.answers:
            self.line.send(response(invite, "200 OK", tag, contact, self.line.sdp()))


def acknowledgement(request, answer, branch):
    """The ACK to a refusal, which belongs to the INVITE's own transaction."""
    lines = request.split("\r\n")
    uri = lines[0].split(" ")[1]
    value = lambda name: next(line for line in lines if line.lower().startswith(name + ":"))
    number = value("cseq").split()[1]
    return (
        f"ACK {uri} SIP/2.0\r\n{value('via')}\r\nMax-Forwards: 70\r\n{value('from')}\r\nTo: {answer.get('to')}\r\n"
        f"{value('call-id')}\r\nCSeq: {number} ACK\r\nContent-Length: 0\r\n\r\n"
    )


class Incoming:
    """A call that rings at a phone until the caller gives up."""

    def __init__(self, phone, invite, tag):
        self.phone, self.invite, self.tag = phone, invite, tag
        phone.line.calls[invite.get("call-id")] = self

    def acknowledge(self, _):
        pass

    def asked(self, request):
        line = self.phone.line
        if request.method == "ACK":
            return
        if request.method == "INVITE":
            line.send(response(request, "180 Ringing", self.tag))
            return
        line.send(response(request, "200 OK", self.tag))
        if request.method == "CANCEL":
            line.send(response(self.invite, "487 Request Terminated", self.tag))
        if request.method in ("CANCEL", "BYE"):
            line.calls.pop(self.invite.get("call-id"), None)


class Call:
    """A call from a phone."""

    def __init__(self, phone, number, source):
        self.phone, self.line, self.number, self.source = phone, phone.line, number, source
        self.id, self.tag = uuid.uuid4().hex, uuid.uuid4().hex[:8]
        self.uri = f"sip:{number}@{self.line.pbx[0]}:{self.line.pbx[1]}"
        self.heard, self.answered, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        # The final response to the INVITE, and the side that hung up.
        self.status = None
        self.by = None
        self.answer = None
        self.begun = time.monotonic()

    async def run(self):
        self.line.calls[self.id] = self
        phone = Phone.__new__(Phone)
        phone.__dict__.update(self.phone.__dict__)
        self.sender = phone
        answer, text, branch = await phone.send(
            "INVITE", self.uri, self.id, self.tag, f"<{self.uri}>", 1, body=self.line.sdp(), source=self.source,
            on_provisional=lambda message: message.status < 200 and self.heard.set(),
        )
        self.status = answer.status if answer else 0
        if answer is None or answer.status >= 300:
            if answer:
                self.line.send(acknowledgement(text, answer, branch))
            self.end("pbx")
            return
        self.answer = answer
        self.target = re.search(r"<([^>]+)>", answer.get("contact")).group(1)
        self.acknowledge(answer)
        port = re.search(r"m=audio (\d+)", answer.body)
        self.sound_port = int(port.group(1)) if port else None
        self.answered_at = time.monotonic()
        self.answered.set()
        self.heard.set()

    def acknowledge(self, answer):
        if answer.status >= 300 or not self.answer:
            return
        number = answer.get("cseq").split()[0]
        self.line.send(self.within("ACK", number))

    def within(self, method, number):
        branch = "z9hG4bK" + uuid.uuid4().hex
        source = self.source or f"<sip:{self.phone.user}@127.0.0.1>"
        self.last_branch = branch
        return (
            f"{method} {self.target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{self.line.port};branch={branch};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: {source};tag={self.tag}\r\nTo: {self.answer.get('to')}\r\n"
            f"Call-ID: {self.id}\r\nCSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n"
        )

    def asked(self, request):
        """Handles a request of Asterisk within the call."""
        if request.method == "ACK":
            return
        if request.method == "INVITE":
            contact = f"Contact: <sip:{self.phone.name}@127.0.0.1:{self.line.port}>\r\n"
            self.line.send(response(request, "200 OK", self.tag, contact, self.line.sdp()))
            return
        self.line.send(response(request, "200 OK", self.tag))
        if request.method == "BYE":
            self.end("pbx")

    async def hang_up(self):
        """Hangs up by BYE, or by CANCEL before the answer."""
        if self.ended.is_set():
            return
        if not self.answered.is_set():
            await asyncio.wait_for(self.heard.wait(), PATIENCE)
        if self.ended.is_set():
            return
        if not self.answered.is_set():
            branch, number, text = self.sender.sent
            lines = text.split("\r\n")
            value = lambda name: next(line for line in lines if line.lower().startswith(name + ":"))
            cancel = (
                f"CANCEL {self.uri} SIP/2.0\r\n{value('via')}\r\nMax-Forwards: 70\r\n{value('from')}\r\n{value('to')}\r\n"
                f"{value('call-id')}\r\nCSeq: {number} CANCEL\r\nContent-Length: 0\r\n\r\n"
            )
            await self.line.request(cancel, branch, "CANCEL")
            await self.task
            # The call may have been answered at the same moment.
            if not self.answered.is_set():
                self.end("phone")
                return
        text = self.within("BYE", 100)
        branch = self.last_branch
        self.end("phone")
        await self.line.request(text, branch, "BYE")

    def end(self, by):
        if not self.ended.is_set():
            self.by = by
            self.ended_at = time.monotonic()
            self.ended.set()
            # Long enough for late messages.
            asyncio.get_running_loop().call_later(40, self.line.calls.pop, self.id, None)

    async def until_ended(self, seconds=60):
        await asyncio.wait_for(self.ended.wait(), seconds)

    async def press(self, digits, length_ms=100, pause_ms=100):
        """Presses keys, one after the other."""
        stamp, sequence, source = random.randrange(1 << 31), random.randrange(1 << 15), random.randrange(1 << 32)
        for digit in digits:
            event = "0123456789*#".index(digit)
            steps = max(length_ms // 20, 3)
            for step in range(steps + 3):
                is_end = step >= steps
                duration = min(step + 1, steps) * 160
                header = struct.pack("!BBHII", 0x80, 101 | (0x80 if step == 0 else 0), sequence & 0xFFFF, stamp, source)
                payload = struct.pack("!BBH", event, (0x80 if is_end else 0) | 10, duration)
                self.line.sound.sendto(header + payload, ("127.0.0.1", self.sound_port))
                sequence += 1
                if not is_end:
                    await asyncio.sleep(0.02)
            stamp += steps * 160 + pause_ms * 8
            await asyncio.sleep(pause_ms / 1000)
