"""A contact center of real parts: a private Asterisk with the fragments of packaging/asterisk, queuegate, and `queuegate agi`,
each in its own process, which tests can stop, freeze and kill."""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
FRAGMENTS = PROJECT / "packaging/asterisk"
# The port in the dialplan. Another one allows several runs at once.
PORT_OF_THE_FRAGMENTS = 4580
AGI_PORT = int(os.environ.get("AGI_PORT", PORT_OF_THE_FRAGMENTS))
SECRET, PASSWORD = "s3cret", "phone-secret"
# Time limit for an effect, in seconds.
PATIENCE = int(os.environ.get("PATIENCE", 40))

# In addition to examples/acme.yaml: a queue that the PBX lacks, a queue with a static member, and the campaign's
# queues.
CAMPAIGN_QUEUES = [str(number) for number in range(900, 908)]
CAMPAIGN_USERS = [str(number) for number in range(2000, 2060)]
DIRECTORY = "queues:\n" + "".join(
    f"  - {{ queue_id: q{number}, extension: {number}, kind: CALL_QUEUE }}\n" for number in ["805", "806", *CAMPAIGN_QUEUES]
) + "users:\n" + "".join(f"  - {{ user_id: u{number}, extension: {number} }}\n" for number in CAMPAIGN_USERS)
QUEUES_OF_THE_PBX = ["801", "802", "806", *CAMPAIGN_QUEUES[:-1]]
USERS = {"anna": "101", "bo": "102", "cleo": "103", "dan": "104"} | {f"u{number}": number for number in CAMPAIGN_USERS}
QUEUES = {"sales": "801", "support": "802"} | {f"q{number}": number for number in ["805", "806", *CAMPAIGN_QUEUES]}
ENDPOINTS = ["101", "102", "103", "104", "999", *CAMPAIGN_USERS]

EXTENSIONS = """
[phones]
include => queuegate-codes
include => queuegate-keys
include => queuegate-queues
; From phone to phone.
exten => _10X,1,Dial(PJSIP/${EXTEN},20)
 same => n,Hangup()
; By the dialplan's own AddQueueMember.
exten => _*16X.,1,Gosub(queuegate-by-hand,s,1(${FILTER(0-9,${EXTEN:3})}))
; A check, and its duration.
exten => _*17X.,1,Answer()
 same => n,Set(BEFORE=${STRFTIME(,,%s.%6q)})
 same => n,AGI(agi://127.0.0.1:4580/check?queue=${EXTEN:3})
 same => n,Set(AFTER=${STRFTIME(,,%s.%6q)})
 same => n,Hangup()
; Through a channel without a phone.
exten => _*18X.,1,Dial(Local/*13${EXTEN:3}@queuegate-codes/n,10)
 same => n,Hangup()
; A caller whose endpoint the dialplan names.
exten => _*21X.,1,Answer()
 same => n,AGI(agi://127.0.0.1:4580/sign-in?endpoint=${CHANNEL(endpoint)}&queue=${EXTEN:3})
 same => n,Hangup()
; A careless dialplan: passes the dialed number without FILTER.
exten => _*12X.,1,Answer()
 same => n,Set(QUEUEGATE_STATUS=)
 same => n,AGI(agi://127.0.0.1:4580/sign-in?queue=${EXTEN:3})
 same => n,Hangup()
; Two handlers: the other one is asked if the first can't be reached.
exten => _*22X.,1,Set(QUEUEGATE_STATUS=)
 same => n,Answer()
 same => n,AGI(agi://127.0.0.1:4589/sign-in?queue=${FILTER(0-9,${EXTEN:3})})
 same => n,GotoIf($["${AGISTATUS}${QUEUEGATE_STATUS}" != "FAILURE"]?done)
 same => n,AGI(agi://127.0.0.1:4580/sign-in?queue=${FILTER(0-9,${EXTEN:3})})
 same => n(done),Hangup()
exten => _*23X.,1,Set(QUEUEGATE_STATUS=)
 same => n,Answer()
 same => n,AGI(agi://127.0.0.1:4580/sign-in?queue=${FILTER(0-9,${EXTEN:3})})
 same => n,GotoIf($["${AGISTATUS}${QUEUEGATE_STATUS}" != "FAILURE"]?done)
 same => n,AGI(agi://127.0.0.1:4580/toggle?queue=${FILTER(0-9,${EXTEN:3})})
 same => n(done),Hangup()
; What a call costs without AGI.
exten => *00,1,Answer()
 same => n,Set(BEFORE=${STRFTIME(,,%s.%6q)})
 same => n,Set(AFTER=${STRFTIME(,,%s.%6q)})
 same => n,Hangup()

"""


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Manager:
    """A connection to the manager interface: actions and events."""

    @classmethod
    async def open(cls, port):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        await self.reader.readline()
        self.events, self.waiting, self.number = [], {}, 0
        self.news = asyncio.Event()
        self.reading = asyncio.create_task(self.read())
        answer = await self.ask(Action="Login", Username="observer", Secret=SECRET, Events="on")
        assert answer[0]["Response"] == "Success", answer
        return self

    async def read(self):
        message = {}
        while True:
            # The dialed number may contain other line ends.
            try:
                line = (await self.reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "replace")
            except asyncio.IncompleteReadError:
                return
            if line:
                name, _, value = line.partition(":")
                message.setdefault(name, value.strip())
                continue
            done, message = message, {}
            waiting = self.waiting.get(done.get("ActionID"))
            if waiting is not None:
                waiting.put_nowait(done)
            elif "Event" in done:
                self.events.append(done)
                self.news.set()

    async def ask(self, **fields):
        """All messages in response to an action."""
        self.number += 1
        name = f"observer-{self.number}"
        answers = self.waiting[name] = asyncio.Queue()
        lines = "".join(f"{key}: {value}\r\n" for key, value in fields.items())
        self.writer.write(f"{lines}ActionID: {name}\r\n\r\n".encode())
        messages = [await asyncio.wait_for(answers.get(), PATIENCE)]
        while messages[0].get("EventList", "").lower() == "start" and messages[-1].get("EventList") != "Complete":
            messages.append(await asyncio.wait_for(answers.get(), PATIENCE))
        del self.waiting[name]
        return messages

    async def until(self, start, fits, seconds=PATIENCE):
        """The first matching event from `start` on."""
        end = time.monotonic() + seconds
        while True:
            for event in self.events[start:]:
                if fits(event):
                    return event
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), max(end - time.monotonic(), 0.01))

    def close(self):
        self.reading.cancel()
        self.writer.close()


class Asterisk:
    """A private Asterisk with its own folders and ports, and the fragments, which are unchanged but for another port."""

    def __init__(self, agi_port=AGI_PORT):
        self.agi_port = agi_port
        self.root = pathlib.Path(os.environ.get("ASTERISK_ROOT", "/"))
        place = self.root / "tmp"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="queuegate-asterisk-", dir=place))
        self.folder.chmod(0o755)
        self.own = "/" / self.folder.relative_to(self.root)
        self.sip_port, self.manager_port = free_port(socket.SOCK_DGRAM), free_port()
        self.manager_tls_port = free_port()
        self.process = None
        self.configure()

    def command(self, *words):
        chroot = [] if self.root == pathlib.Path("/") else ["chroot", str(self.root)]
        asterisk = os.environ.get("ASTERISK", "/usr/sbin/asterisk" if chroot else "asterisk")
        return [*chroot, asterisk, "-C", f"{self.own}/etc/asterisk.conf", *words]

    def configure(self):
        if self.root != pathlib.Path("/"):
            # Without a working name server, calls would wait for a lookup of the machine's own name.
            (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
        etc = self.folder / "etc"
        for name in ["etc", "db", "keys", "spool", "run", "log", "agi"]:
            (self.folder / name).mkdir()
        installed = (self.root / "etc/asterisk/asterisk.conf").read_text()
        kept = {"astmoddir", "astvarlibdir", "astdatadir", "astsbindir"}
        lines = [line for line in installed.splitlines() if line.split("=")[0].strip() in kept]
        own = {"etc": "etc", "db": "db", "key": "keys", "spool": "spool", "run": "run", "log": "log", "agi": "agi"}
        lines += [f"ast{name}dir => {self.own}/{folder}" for name, folder in own.items()]
        files = {
            "asterisk.conf": "[directories]\n" + "\n".join(lines) + "\n",
            "modules.conf": "[modules]\nautoload=yes\n",
            "logger.conf": "[general]\n[logfiles]\nfull => notice,warning,error,verbose\n",
            "rtp.conf": "[general]\nrtpstart=20000\nrtpend=29999\n",
            "extensions.conf": self.with_port(EXTENSIONS + (FRAGMENTS / "extensions.conf").read_text()),
            # Append it to the package's file, as in the documentation.
            "queues.conf": (self.root / "etc/asterisk/queues.conf").read_text()
            + (FRAGMENTS / "queues.conf").read_text()
            + "[806](queuegate)\nmember => PJSIP/102\n"
            + "".join(f"[{queue}](queuegate)\n" for queue in CAMPAIGN_QUEUES[:-1]),
            "manager.conf": f"[general]\nenabled = yes\nbindaddr = 127.0.0.1\nport = {self.manager_port}\n"
            f"tlsenable = yes\ntlsbindaddr = 127.0.0.1:{self.manager_tls_port}\n"
            f"tlscertfile = {self.own}/etc/ami.pem\ntlsprivatekey = {self.own}/etc/ami.key\n"
            f"[observer]\nsecret = {SECRET}\nread = all\nwrite = all\nwritetimeout = 5000\n"
            + (FRAGMENTS / "manager.conf").read_text().replace("change-me", SECRET),
            "pjsip.conf": self.phones(),
        }
        for name, text in files.items():
            (etc / name).write_text(text)
        # As in the documentation.
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=pbx.example.com "
            "-addext subjectAltName=DNS:pbx.example.com -addext basicConstraints=critical,CA:FALSE -keyout ami.key -out ami.pem"
        )
        subprocess.run(command.split(), cwd=etc, check=True, capture_output=True)

    def with_port(self, dialplan):
        """A dialplan with the port of this PBX's handler."""
        return dialplan.replace(f"127.0.0.1:{PORT_OF_THE_FRAGMENTS}", f"127.0.0.1:{self.agi_port}")

    def phones(self):
        text = (
            f"[transport]\ntype=transport\nprotocol=udp\nbind=127.0.0.1:{self.sip_port}\n"
            "[phone](!)\ntype=endpoint\ncontext=phones\ndisallow=all\nallow=ulaw\nidentify_by=auth_username,username\n"
            "[login](!)\ntype=auth\nauth_type=userpass\n[place](!)\ntype=aor\nmax_contacts=5\n"
            "[global]\ntype=global\nendpoint_identifier_order=auth_username,username\n"
        )
        for name in ENDPOINTS:
            text += f"[{name}](phone)\nauth={name}\naors={name}\n"
            text += f"[{name}](login)\nusername={name}\npassword={PASSWORD}\n[{name}](place)\n"
        return text

    async def start(self):
        self.process = subprocess.Popen(
            self.command("-f", "-n"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        await self.until_up()

    async def until_up(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if "fully booted" in await self.cli("core waitfullybooted"):
                self.manager = await Manager.open(self.manager_port)
                return
            await asyncio.sleep(0.2)
        log = self.folder / "log/full"
        raise RuntimeError("Asterisk did not start: " + (log.read_text()[-2000:] if log.exists() else "it said nothing"))

    async def cli(self, line):
        words = self.command("-rx", line)
        process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text, _ = await process.communicate()
        return text.decode("utf-8", "replace")

    async def restart(self):
        """`core restart now`; all connections break."""
        self.manager.close()
        await self.cli("core restart now")
        await asyncio.sleep(1)
        await self.until_up()

    async def members(self, dynamic_only=False):
        """The members: pairs of a queue and an interface."""
        messages = await self.manager.ask(Action="QueueStatus")
        return {
            (message["Queue"], message["Location"])
            for message in messages
            if message.get("Event") == "QueueMember" and (not dynamic_only or message["Membership"] == "dynamic")
        }

    def version(self):
        return subprocess.run(self.command("-V"), capture_output=True, text=True).stdout.strip()

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Program:
    """A process of queuegate."""

    def __init__(self, name, folder, arguments):
        self.name, self.folder, self.arguments = name, folder, arguments
        self.process, self.starts = None, 0

    async def start(self, ready):
        self.starts += 1
        self.log = self.folder / f"{self.name}-{self.starts}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([binary(), *self.arguments, "--log-format", "json"], stderr=log, cwd=self.folder)
        end = time.monotonic() + PATIENCE
        while ready not in self.log.read_text():
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"{self.name} did not start: {self.log.read_text()}")
            await asyncio.sleep(0.02)

    def said(self):
        return "".join(path.read_text() for path in sorted(self.folder.glob(f"{self.name}-*.log")))

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def binary():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
    return target / os.environ.get("QUEUEGATE_PROFILE", "debug") / "queuegate"


class Conversation:
    """The AGI conversation of one call."""

    def __init__(self):
        self.environment = {}
        # Commands, each with Asterisk's replies until the next.
        self.commands = []
        self.replies = []
        self.before = []
        self.hung_up = asyncio.Event()

    def sounds(self):
        """The sounds whose playback began."""
        played = []
        for command, replies in zip(self.commands, self.replies):
            words = re.findall(r'"([^"]*)"|(\S+)', command)
            words = [quoted or plain for quoted, plain in words]
            if words[0] in ("STREAM", "GET") and words[1] in ("FILE", "DATA") and any(line[:3] == "200" for line in replies):
                played.append(words[2])
        return played


class Tap:
    """A proxy between Asterisk and the handler: records the conversation, and can pause at any command.

    `rule(conversation, number)` is awaited before the command of that number is handed to Asterisk; it may give `cut`, and then
    both connections break."""

    def __init__(self):
        self.conversations = []
        self.rule = self.target = self.server = None

    async def open(self):
        self.server = await asyncio.start_server(self.carry, "127.0.0.1", AGI_PORT, backlog=2048)

    def close(self):
        if self.server:
            self.server.close()

    async def carry(self, pbx_reader, pbx_writer):
        conversation = Conversation()
        self.conversations.append(conversation)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            pbx_writer.transport.abort()
            return

        async def there():
            is_environment = True
            while line := await pbx_reader.readline():
                text = line.decode("utf-8", "replace").rstrip("\n")
                if is_environment:
                    is_environment = text != ""
                    name, _, value = text.partition(": ")
                    conversation.environment[name] = value
                else:
                    if text == "HANGUP":
                        conversation.hung_up.set()
                    (conversation.replies[-1] if conversation.replies else conversation.before).append(text)
                writer.write(line)
                await writer.drain()

        async def back():
            while line := await reader.readline():
                if self.rule and await self.rule(conversation, len(conversation.commands)) == "cut":
                    pbx_writer.transport.abort()
                    writer.transport.abort()
                    return
                conversation.commands.append(line.decode("utf-8", "replace").rstrip("\n"))
                conversation.replies.append([])
                pbx_writer.write(line)
                await pbx_writer.drain()
            # Also record Asterisk's messages after the handler has closed.
            pbx_writer.write_eof()

        tasks = [asyncio.create_task(there()), asyncio.create_task(back())]
        try:
            await asyncio.gather(*tasks)
        except (ConnectionError, OSError, asyncio.CancelledError):
            pass
        finally:
            [task.cancel() for task in tasks]
            pbx_writer.close()
            writer.close()


class Center:
    """The whole contact center."""

    def __init__(self, has_tap=True):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="queuegate-center-"))
        self.asterisk = Asterisk()
        self.tap = Tap() if has_tap else None
        self.port = free_port()
        self.server = Program(
            "serve", self.folder, ["serve", "--listen", f"127.0.0.1:{self.port}", "--database", str(self.folder / "center.db")]
        )
        (self.folder / "ami.secret").write_text(SECRET + "\n")
        self.agi_port = free_port() if has_tap else AGI_PORT
        self.agi = Program("agi", self.folder, self.agi_arguments())

    def agi_arguments(self, *more):
        return [
            "agi", "--reconcile", "enforce", "--config", str(FRAGMENTS / "agi.toml"), "--server", f"127.0.0.1:{self.port}",
            "--listen", f"127.0.0.1:{self.agi_port}", "--journal", str(self.folder / "journal"),
            "--ami", f"127.0.0.1:{self.asterisk.manager_port}", "--ami-user", "queuegate",
            "--ami-secret-file", str(self.folder / "ami.secret"), "--lamp", "Custom:QG_{extension}_{queue}", *more,
        ]  # fmt: skip

    async def open(self):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", AGI_PORT)) == 0:
                raise SystemExit(f"something listens on port {AGI_PORT}, which the dialplan has; stop it first")
        await self.start_server()
        directory = self.folder / "directory.yaml"
        directory.write_text(DIRECTORY)
        self.ask("import", str(PROJECT / "examples/acme.yaml"))
        self.ask("import", str(directory))
        await self.asterisk.start()
        if self.tap:
            self.tap.target = self.agi_port
            await self.tap.open()
        await self.start_agi()

    async def start_server(self):
        await self.server.start("database loaded")

    async def start_agi(self):
        await self.agi.start("reconciling members" if "--ami" in self.agi.arguments else '"listening"')

    def run(self, *words, typed=None):
        """Runs queuegate's command line."""
        server = f"http://127.0.0.1:{self.port}"
        return subprocess.run([binary(), *words, "--organization", "acme", "--server", server], capture_output=True, text=True, input=typed)

    def ask(self, *words, typed=None):
        done = self.run(*words, typed=typed)
        if done.returncode > 1:
            raise RuntimeError(f"{words}: {done.stderr}")
        return done.stdout

    def sessions(self):
        """The live sessions: pairs of a queue's number and an interface."""
        sessions = json.loads(self.ask("sessions", "--json")).get("sessions", [])
        phone = lambda session: session.get("device") or f"PJSIP/{USERS[session['user_id']]}"
        return {(QUEUES[session["queue_id"]], phone(session)) for session in sessions}

    def pending(self):
        """The sign-outs in the journal that queuegate doesn't have yet."""
        journal = sqlite3.connect(f"file:{self.folder / 'journal'}?mode=ro", uri=True)
        with contextlib.closing(journal):
            entries = [json.loads(entry) for entry, in journal.execute("SELECT entry FROM pending")]
        return {(entry["pbx_queue"], entry["interface"]) for entry in entries}

    async def until(self, what, fits, seconds=PATIENCE):
        """Waits until a condition holds."""
        end = time.monotonic() + seconds
        while True:
            seen = await fits() if asyncio.iscoroutinefunction(fits) else fits()
            if seen:
                return seen
            if time.monotonic() > end:
                raise AssertionError(f"it did not come to this: {what}; {await self.state()}")
            await asyncio.sleep(0.05)

    async def until_members(self, *expected):
        async def fits():
            return await self.asterisk.members(dynamic_only=True) == set(expected)

        await self.until(f"members {expected}", fits)

    async def until_agreed(self, seconds=PATIENCE):
        """Waits until the journal is empty and members and sessions agree; returns them."""

        async def fits():
            if self.pending():
                return False
            members = await self.asterisk.members(dynamic_only=True)
            return (members,) if members == self.sessions() else False

        return (await self.until("members and sessions agree", fits, seconds))[0]

    async def state(self):
        members = sorted(await self.asterisk.members(dynamic_only=True))
        try:
            sessions = sorted(self.sessions())
        except RuntimeError as error:
            sessions = str(error)
        return f"members {members}, sessions {sessions}, pending {sorted(self.pending())}"

    def close(self):
        if self.tap:
            self.tap.close()
        for program in [self.agi, self.server]:
            program.kill()
        self.asterisk.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
