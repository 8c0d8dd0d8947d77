"""A contact center of real parts: a private FreeSWITCH with the fragments of packaging/freeswitch, queuegate, and
`queuegate esl`, each in its own process. The rest is as in tests/asterisk."""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import wave

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
sys.path.append(str(PROJECT / "tests/asterisk"))

import importlib.util  # noqa: E402

# tests/asterisk/center.py has the same name as this file.
_spec = importlib.util.spec_from_file_location("asterisk_center", PROJECT / "tests/asterisk/center.py")
shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shared)
PASSWORD, PATIENCE, QUEUES, USERS, Program, binary, free_port = (
    shared.PASSWORD, shared.PATIENCE, shared.QUEUES, shared.USERS, shared.Program, shared.binary, shared.free_port,
)  # fmt: skip

FRAGMENTS = PROJECT / "packaging/freeswitch"
# The address in the dialplan.
ESL_PORT = 4581
SECRET, DOMAIN = "s3cret", "pbx.example.com"
DIRECTORY = "queues:\n" + "".join(f"  - {{ queue_id: q{number}, extension: {number}, kind: CALL_QUEUE }}\n" for number in [805, 806])
USERS_OF_THE_PBX = ["101", "102", "103", "104", "999"]
PROMPTS = {
    "in": "ivr/ivr-you_are_now_logged_in.wav", "out": "ivr/ivr-you_are_now_logged_out.wav", "denied": "ivr/ivr-access_denied.wav",
    "invalid": "ivr/ivr-that_was_an_invalid_entry.wav", "sorry": "ivr/ivr-im_sorry.wav", "ask": "ivr/ivr-enter_queue_number.wav",
    "paused": "ivr/ivr-dnd_activated.wav", "unpaused": "ivr/ivr-dnd_cancelled.wav",
    "agent": "ivr/ivr-please_enter_extension_followed_by_pound.wav", "pin": "ivr/ivr-please_enter_pin_followed_by_pound.wav",
}  # fmt: skip
SOUNDS = {path: name for name, path in PROMPTS.items()}

MODULES = ["mod_logfile", "mod_event_socket", "mod_sofia", "mod_loopback", "mod_commands", "mod_dptools", "mod_dialplan_xml",
           "mod_callcenter", "mod_tone_stream", "mod_sndfile", "mod_native_file"]  # fmt: skip

# In addition to the fragment.
EXTENSIONS = """
  <extension name="phones"><condition field="destination_number" expression="^(10\\d)$">
    <action application="bridge" data="user/$1@pbx.example.com"/></condition></extension>
  <!-- A check. -->
  <extension name="check"><condition field="destination_number" expression="^\\*27(\\d+)$">
    <action application="answer"/><action application="socket" data="127.0.0.1:4581/check?queue=$1 full"/></condition></extension>
  <!-- With `async`. -->
  <extension name="async"><condition field="destination_number" expression="^\\*23(\\d+)$">
    <action application="answer"/><action application="socket" data="127.0.0.1:4581/toggle?queue=$1 async full"/>
    <action application="set" data="after=yes"/><action application="hangup"/></condition></extension>
  <!-- Without `full`. -->
  <extension name="single"><condition field="destination_number" expression="^\\*24(\\d+)$">
    <action application="answer"/><action application="socket" data="127.0.0.1:4581/toggle?queue=$1"/></condition></extension>
  <!-- Through a channel without a phone. -->
  <extension name="local"><condition field="destination_number" expression="^\\*28(\\d+)$">
    <action application="answer"/><action application="bridge" data="loopback/*13$1/phones"/></condition></extension>
  <!-- By the dialplan's own application `transfer`. -->
  <extension name="transfer"><condition field="destination_number" expression="^\\*29(\\d+)$">
    <action application="transfer" data="*13$1 XML phones"/></condition></extension>
  <!-- A caller whose endpoint the dialplan names. -->
  <extension name="named"><condition field="destination_number" expression="^\\*21(\\d+)$">
    <action application="answer"/>
    <action application="socket" data="127.0.0.1:4581/sign-in?endpoint=${user_name}&amp;queue=$1 full"/></condition></extension>
  <!-- The other handler is asked if the first can't be reached. -->
  <extension name="failover"><condition field="destination_number" expression="^\\*22(\\d+)$">
    <action application="answer"/>
    <action application="socket" data="127.0.0.1:4589/sign-in?queue=$1|127.0.0.1:4581/sign-in?queue=$1 full"/></condition></extension>
"""


class EventSocket:
    """A connection to the event socket: commands and events."""

    @classmethod
    async def open(cls, port):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        self.events, self.answers, self.news, self.turn = [], asyncio.Queue(), asyncio.Event(), asyncio.Lock()
        self.reading = asyncio.create_task(self.read())
        await self.answers.get()
        assert "+OK" in await self.ask(f"auth {SECRET}")
        await self.ask("event plain CHANNEL_EXECUTE CHANNEL_HANGUP_COMPLETE CHANNEL_CREATE")
        return self

    async def read(self):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                headers = {}
                while (line := (await self.reader.readuntil(b"\n")).decode().rstrip("\n")) or not headers:
                    name, _, value = line.partition(": ")
                    headers[name] = value
                body = (await self.reader.readexactly(int(headers.get("Content-Length", 0)))).decode()
                if headers.get("Content-Type") == "text/event-plain":
                    pairs = (line.partition(": ") for line in body.splitlines())
                    self.events.append({name: urllib.parse.unquote(value) for name, _, value in pairs})
                    self.news.set()
                else:
                    self.answers.put_nowait(body or headers.get("Reply-Text", ""))

    async def ask(self, command):
        async with self.turn:
            self.writer.write(f"{command}\n\n".encode())
            return await asyncio.wait_for(self.answers.get(), PATIENCE)

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


class FreeSwitch:
    """A private FreeSWITCH with its own folders and ports, and the unchanged fragments."""

    def __init__(self):
        self.root = pathlib.Path(os.environ.get("FREESWITCH_ROOT", "/usr/local/freeswitch"))
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="queuegate-freeswitch-"))
        self.sip_port, self.socket_port = free_port(socket.SOCK_DGRAM), free_port()
        self.process = self.socket = None
        for name in ["conf", "db", "log", "run", "sounds/ivr/8000"]:
            (self.folder / name).mkdir(parents=True)
        for path in SOUNDS:
            with wave.open(str(self.folder / "sounds/ivr/8000" / pathlib.Path(path).name), "wb") as sound:
                sound.setparams((1, 2, 8000, 0, "NONE", ""))
                sound.writeframes(bytes(2 * 1600))
        (self.folder / "conf/freeswitch.xml").write_text(self.configuration())

    def configuration(self):
        inside = lambda name: (FRAGMENTS / name).read_text().split("<include>")[1].split("</include>")[0]
        params = lambda **given: "".join(f'<param name="{name.replace("_", "-")}" value="{value}"/>' for name, value in given.items())
        queues = inside("queues.xml").replace("local_stream://moh", "silence").replace("longest-idle-agent", "ring-all")
        queues += '<queue name="806@default"><param name="moh-sound" value="silence"/></queue>'
        user = lambda name: (
            f'<user id="{name}"><params>{params(password=PASSWORD)}</params>'
            '<variables><variable name="user_context" value="phones"/></variables></user>'
        )
        profile = params(
            context="phones", dialplan="XML", sip_ip="127.0.0.1", rtp_ip="127.0.0.1", sip_port=self.sip_port, rtp_timer_name="soft",
            auth_calls="true", manage_presence="true", inbound_codec_prefs="PCMU", outbound_codec_prefs="PCMU",
            force_register_domain=DOMAIN, force_register_db_domain=DOMAIN, challenge_realm=DOMAIN, force_subscription_domain=DOMAIN,
            presence_hosts=DOMAIN, presence_privacy="false",
        )  # fmt: skip
        modules = "".join(f'<load module="{module}"/>' for module in MODULES)
        dial = "{^^:sip_invite_domain=${dialed_domain}:leg_timeout=20}${sofia_contact(*/${dialed_user}@${dialed_domain})}"
        configurations = {
            "modules.conf": f"<modules>{modules}</modules>",
            "switch.conf": f'<settings>{params(max_sessions=2000, sessions_per_second=2000, rtp_start_port=20000, rtp_end_port=29999)}</settings>',
            "logfile.conf": f'<profiles><profile name="default"><settings>{params(logfile=self.folder / "log/freeswitch.log")}</settings>'
            '<mappings><map name="all" value="info,notice,warning,err,crit,alert"/></mappings></profile></profiles>',
            "event_socket.conf": f'<settings>{params(listen_ip="127.0.0.1", listen_port=self.socket_port, password=SECRET)}</settings>',
            "sofia.conf": f'<profiles><profile name="internal"><settings>{profile}</settings></profile></profiles>',
            "callcenter.conf": f'<settings/><queues>{queues}</queues><agents><agent name="102@{DOMAIN}" type="Callback" '
            f'contact="user/102@{DOMAIN}" status="Available"/></agents><tiers><tier agent="102@{DOMAIN}" queue="806@default"/></tiers>',
        }
        return (
            # The preprocessor takes a whole line.
            '<?xml version="1.0"?>\n<document type="freeswitch/xml">\n'
            f'<X-PRE-PROCESS cmd="set" data="sound_prefix={self.folder}/sounds"/>\n'
            '<section name="configuration">'
            + "".join(f'<configuration name="{name}">{text}</configuration>' for name, text in configurations.items())
            + f'</section><section name="directory"><domain name="{DOMAIN}"><params><param name="dial-string" value="{dial}"/></params>'
            + f'<groups><group name="default"><users>{"".join(map(user, USERS_OF_THE_PBX))}</users></group></groups></domain></section>'
            + f'<section name="dialplan"><context name="phones">{EXTENSIONS}{inside("dialplan.xml")}</context></section></document>'
        )

    async def start(self):
        program = next(path for path in [self.root / "bin/freeswitch", self.root / "freeswitch"] if path.exists())
        places = [word for name in ["conf", "log", "db", "run"] for word in [f"-{name}", str(self.folder / name)]]
        self.process = subprocess.Popen(
            [program, "-nonat", "-nc", "-nf", *places], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            cwd=self.folder,
        )  # fmt: skip
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                self.socket = await EventSocket.open(self.socket_port)
                if "RUNNING" in await self.api("sofia status"):
                    return
                self.socket.close()
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError("FreeSWITCH did not start: " + (self.folder / "log/freeswitch.log").read_text()[-2000:])
            await asyncio.sleep(0.3)

    async def api(self, command):
        return await self.socket.ask(f"api {command}")

    async def callcenter(self, arguments):
        return (await self.api(f"callcenter_config {arguments}")).strip()

    async def restart(self, forget=False):
        """Kills it, and starts it again; it keeps its tiers unless it is to forget them."""
        self.socket.close()
        self.process.kill()
        self.process.wait()
        if forget:
            (self.folder / "db/callcenter.db").unlink()
        await self.start()

    async def rows(self, what):
        answer = await self.api('json {"command":"callcenter_config","data":{"arguments":"' + what + '"}}')
        return json.loads(answer)["response"]

    async def status(self, user):
        return {row["name"]: row["status"] for row in await self.rows("agent list")}.get(f"{user}@{DOMAIN}", "none")

    async def members(self, rings_only=True):
        """The members: pairs of a queue's number and an extension. Without the static one."""
        rings = {row["name"] for row in await self.rows("agent list") if row["status"] != "Logged Out" and row.get("contact")}
        tiers = [(row["queue"], row["agent"]) for row in await self.rows("tier list")]
        return {
            (queue.removesuffix("@default"), agent.removesuffix(f"@{DOMAIN}"))
            for queue, agent in tiers
            if queue != "806@default" and (agent in rings or not rings_only)
        }

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Tap:
    """A proxy between FreeSWITCH and the handler: counts the commands, and can act before any of them.

    `rule(number)` is awaited before the command of that number is handed to FreeSWITCH; it may give `cut`, and then both
    connections break."""

    def __init__(self):
        self.calls = []
        self.rule = self.target = self.server = None

    async def open(self):
        self.server = await asyncio.start_server(self.carry, "127.0.0.1", ESL_PORT, backlog=2048, limit=1 << 24)

    def close(self):
        if self.server:
            self.server.close()

    async def carry(self, pbx_reader, pbx_writer):
        commands = []
        self.calls.append(commands)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            pbx_writer.transport.abort()
            return

        async def there():
            while data := await pbx_reader.read(1 << 16):
                writer.write(data)
                await writer.drain()

        async def back():
            while command := await reader.readuntil(b"\n\n"):
                if self.rule and await self.rule(len(commands)) == "cut":
                    pbx_writer.transport.abort()
                    writer.transport.abort()
                    return
                commands.append(command.decode().strip())
                pbx_writer.write(command)
                await pbx_writer.drain()

        tasks = [asyncio.create_task(there()), asyncio.create_task(back())]
        with contextlib.suppress(ConnectionError, OSError, asyncio.IncompleteReadError):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        [task.cancel() for task in tasks]
        pbx_writer.close()
        writer.close()


class Center(shared.Center):
    """The whole contact center."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="queuegate-center-"))
        self.pbx, self.tap = FreeSwitch(), Tap()
        self.port, self.esl_port = free_port(), free_port()
        self.server = Program(
            "serve", self.folder, ["serve", "--listen", f"127.0.0.1:{self.port}", "--database", str(self.folder / "center.db")]
        )
        (self.folder / "esl.password").write_text(SECRET + "\n")
        self.esl = Program("esl", self.folder, [
            "esl", "--config", str(FRAGMENTS / "esl.toml"), "--reconcile", "enforce", "--server", f"127.0.0.1:{self.port}",
            "--listen", f"127.0.0.1:{self.esl_port}", "--journal", str(self.folder / "journal"),
            "--event-socket", f"127.0.0.1:{self.pbx.socket_port}", "--event-socket-password-file", str(self.folder / "esl.password"),
            "--lamp", "queuegate+{extension}-{queue}@{domain}",
        ])  # fmt: skip

    async def open(self):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", ESL_PORT)) == 0:
                raise SystemExit(f"something listens on port {ESL_PORT}, which the dialplan has; stop it first")
        await self.start_server()
        directory = self.folder / "directory.yaml"
        directory.write_text(DIRECTORY)
        self.ask("import", str(PROJECT / "examples/acme.yaml"))
        self.ask("import", str(directory))
        await self.pbx.start()
        self.tap.target = self.esl_port
        await self.tap.open()
        await self.start_esl()

    async def start_esl(self):
        await self.esl.start("reconciling members")

    def sessions(self):
        """The live sessions: pairs of a queue's number and an extension."""
        sessions = json.loads(self.ask("sessions", "--json")).get("sessions", [])
        pairs = {(QUEUES[session["queue_id"]], USERS[session["user_id"]]) for session in sessions}
        return {(queue, user) for queue, user in pairs if queue != "806"}

    def pending(self):
        return {
            (queue.removesuffix("@default"), agent.removesuffix(f"@{DOMAIN}")) for queue, agent in super().pending()
        }

    async def until_members(self, *expected):
        async def fits():
            return await self.pbx.members() == set(expected)

        await self.until(f"members {expected}", fits)

    async def until_agreed(self, seconds=PATIENCE):
        """Waits until the journal is empty and members and sessions agree; returns them."""

        async def fits():
            if self.pending():
                return False
            members = await self.pbx.members()
            return (members,) if members == self.sessions() == await self.pbx.members(rings_only=False) else False

        return (await self.until("members and sessions agree", fits, seconds))[0]

    async def state(self):
        try:
            sessions = sorted(self.sessions())
        except RuntimeError as error:
            sessions = str(error)
        return f"members {sorted(await self.pbx.members(False))}, sessions {sessions}, pending {sorted(self.pending())}"

    def close(self):
        self.tap.close()
        for program in [self.esl, self.server]:
            program.kill()
        self.pbx.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
