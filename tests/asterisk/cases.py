"""Every case of *13, by real calls. Each prints its result and the expected result."""

import asyncio
import contextlib
import json
import random
import subprocess
import time

from center import PASSWORD, PATIENCE, binary, signal
from freepbx import freepbx
from phone import Phone
from queues_conf import BEFORE, CASES
from several_pbxs import several_pbxs

# Time limit of a call, in seconds.
PATIENCE_OF_A_CALL = 60 + PATIENCE
ASK, IN, OUT = "vm-enter-num-to-call", "agent-loginok", "agent-loggedoff"
DENIED, INVALID, SORRY = "feature-not-avail-line", "invalid", "sorry-youre-having-problems"
# The channel's name, the status cleared, EXEC, the status read, four variables, the prompt.
COMMANDS = 9


class Seen:
    """The result of a call."""

    def __init__(self, call, events, conversations):
        self.call, self.conversations = call, conversations
        self.variables = {}
        self.sounds = []
        played = iter([sound for conversation in conversations for sound in conversation.sounds()])
        for event in events:
            if event["Event"] == "VarSet":
                self.variables[event["Variable"]] = event["Value"]
            if event["Event"] == "Newexten" and event["Application"] == "Playback":
                self.sounds.append(event["AppData"])
        self.sounds = [*played, *self.sounds]

    def get(self, name):
        return self.variables.get(name, "")

    def __str__(self):
        status, reason = self.get("QUEUEGATE_STATUS"), self.get("QUEUEGATE_REASON")
        return f"{status or '-'} {reason or '-'} | {' '.join(self.sounds) or '-'}"


class Cases:
    def __init__(self, center, line):
        self.center, self.line = center, line
        self.rows = []
        self.phones = {name: Phone(line, name, PASSWORD) for name in ["101", "102", "103", "104", "999"]}

    async def register(self):
        for phone in self.phones.values():
            await phone.register()

    def row(self, case, seen, expected):
        is_so = str(seen) == str(expected)
        self.rows.append((case, str(seen), str(expected), is_so))
        mark = "ok " if is_so else "NOT"
        print(f"{mark} {case:56} {seen}" + ("" if is_so else f"\n    expected: {expected}"), flush=True)

    async def dial(self, user, number, keys=(), source=None, rule=None, act=None, seconds=PATIENCE_OF_A_CALL):
        """Dials, presses keys whenever the handler asks for digits, and waits for the end of the call."""
        manager = self.center.asterisk.manager
        start, first = len(manager.events), len(self.center.tap.conversations)
        keys = list(keys)

        async def press(conversation, number):
            return await rule(self.last, conversation, number) if rule else None

        self.center.tap.rule = press if rule else None
        call = self.last = self.phones[user].dial(number, source)
        pressing = asyncio.create_task(self.press(call, first, keys)) if keys else None
        try:
            if act:
                await act(call)
            await call.until_ended(seconds)
        finally:
            if pressing:
                pressing.cancel()
        is_own = lambda event: event["Event"] == "Newchannel" and event["Channel"].startswith(f"PJSIP/{user}-")
        linked = (await manager.until(start, is_own))["Linkedid"]
        gone = lambda event: event["Event"] == "Hangup" and event["Uniqueid"] == linked
        await manager.until(start, gone, seconds)
        self.center.tap.rule = None
        await asyncio.sleep(0.05)
        events = [event for event in manager.events[start:] if event.get("Linkedid") == linked]
        return Seen(call, events, self.center.tap.conversations[first:])

    async def press(self, call, first, keys):
        """Enters one number at each prompt."""
        asked = 0
        while keys:
            spoken = self.center.tap.conversations[first:]
            now = sum(command.startswith("GET DATA") for talk in spoken for command in talk.commands)
            if now > asked:
                asked = now
                await asyncio.sleep(0.3)
                await call.press(keys.pop(0))
            await asyncio.sleep(0.05)

    async def case(self, name, user, number, expected, members=None, **more):
        """Makes a call, and checks its result and the members. Sessions must agree."""
        try:
            seen = str(await self.dial(user, number, **more))
            agreed = await self.center.until_agreed(15)
            if members is not None:
                expected += f" | {members}"
                seen += " | " + (" ".join(sorted(f"{queue}:{phone.removeprefix('PJSIP/')}" for queue, phone in agreed)) or "-")
        except (AssertionError, asyncio.TimeoutError, TimeoutError) as error:
            seen = f"{type(error).__name__} {error}"
        self.row(name, seen, expected)

    # The basic flow.

    async def calls(self):
        await self.case("*13801 signs in", "101", "*13801", f"allowed ASSIGNED | {IN}", "801:101")
        await self.case("again", "101", "*13801", f"allowed ALREADY_SIGNED_IN | {IN}", "801:101")
        await self.case("*14801 signs out", "101", "*14801", f"allowed SIGNED_OUT | {OUT}", "-")
        await self.case("again", "101", "*14801", f"allowed NOT_SIGNED_IN | {OUT}", "-")
        await self.case("*15801 toggles in", "101", "*15801", f"allowed ASSIGNED | {IN}", "801:101")
        await self.case("and out", "101", "*15801", f"allowed SIGNED_OUT | {OUT}", "-")
        await self.case("a check changes and plays nothing", "101", "*17801", "allowed ASSIGNED | -", "-")
        self.center.ask("settings", "set", "organization.unassigned_queue_sign_in=RESTRICTED")
        await self.case("denied", "102", "*13801", f"denied UNASSIGNED_RESTRICTED | {DENIED}", "-")
        await self.case("denied, checked", "102", "*17801", "denied UNASSIGNED_RESTRICTED | -", "-")
        await self.case("denied, by the dialplan's own AddQueueMember", "102", "*16801",
                        f"denied UNASSIGNED_RESTRICTED | {DENIED}", "-")  # fmt: skip
        self.center.ask("settings", "set", "organization.unassigned_queue_sign_in=ALLOWED")
        await self.case("unassigned, allowed", "102", "*13801", f"allowed UNASSIGNED_ALLOWED | {IN}", "801:102")
        await self.case("and out", "102", "*14801", f"allowed SIGNED_OUT | {OUT}", "-")
        await self.case("a disabled user", "104", "*13801", f"denied USER_DISABLED | {DENIED}", "-")
        await self.case("a phone without a user", "999", "*13801", f"denied UNKNOWN_USER | {DENIED}", "-")
        await self.case("an unknown queue", "101", "*13899", f"denied UNKNOWN_QUEUE | {INVALID}", "-")
        await self.case("an inbox", "101", "*13803", f"denied QUEUE_KIND_NOT_SUPPORTED | {DENIED}", "-")
        await self.case("*13 and digits", "101", "*13", f"allowed ASSIGNED | {ASK} {IN}", "801:101", keys=["801#"])
        await self.case("*14 and digits, without #", "101", "*14", f"allowed SIGNED_OUT | {ASK} {OUT}", "-", keys=["801"])
        await self.case("*13 and wrong digits first", "101", "*13", f"allowed ASSIGNED | {ASK} {INVALID} {ASK} {INVALID} {ASK} {IN}",
                        "801:101", keys=["899#", "*1#", "801#"])  # fmt: skip
        await self.case("*15 and digits", "101", "*15", f"allowed SIGNED_OUT | {ASK} {OUT}", "-", keys=["801#"])
        await self.case("*13 and wrong digits only", "101", "*13", f"denied UNKNOWN_QUEUE | {' '.join([ASK, INVALID] * 3)}", "-",
                        keys=["1#", "2#", "3#", "801#"])  # fmt: skip
        await self.case("*13 and nothing", "101", "*13", f"failed NO_QUEUE | {ASK} {SORRY}", "-")

    async def members(self):
        await self.case("a queue that the PBX lacks", "101", "*13805", f"failed NO_SUCH_QUEUE | {SORRY}", "-")
        await self.case("the same, by the dialplan", "101", "*16805", f"- SIGNED_OUT | {SORRY}", "-")
        await self.case("by the dialplan", "101", "*16801", f"allowed ASSIGNED | {IN}", "801:101")
        await self.case("and out", "101", "*14801", f"allowed SIGNED_OUT | {OUT}", "-")

        async def added_before(call, conversation, number):
            if number == 2:
                await self.center.asterisk.cli("queue add member PJSIP/101 to 801")

        seen = await self.dial("101", "*13801", rule=added_before)
        self.row("a member already", f"{seen} {seen.get('AQMSTATUS')}", f"allowed ASSIGNED | {IN} MEMBERALREADY")
        await self.case("and out", "101", "*14801", f"allowed SIGNED_OUT | {OUT}", "-")
        seen = await self.dial("102", "*13806")
        self.row("a static member", f"{seen} {seen.get('AQMSTATUS')}", f"allowed UNASSIGNED_ALLOWED | {IN} MEMBERALREADY")
        seen = await self.dial("102", "*14806")
        expected = f"failed MEMBER_IS_STATIC | {SORRY} NOTDYNAMIC"
        self.row("a static member signs out, and rings on", f"{seen} {seen.get('RQMSTATUS')}", expected)
        self.row("its session is ended", self.center.sessions(), set())

    async def identity(self):
        forged = '"Bo" <sip:102@127.0.0.1>'
        seen = await self.dial("101", "*13801", source=forged)
        environment = seen.conversations[0].environment
        said = f"{environment['agi_callerid']} {environment['agi_calleridname']} {environment['agi_extension']} {environment['agi_dnid']}"
        self.row("forged: caller id, name, extension, dnid", said, "102 Bo s *13801")
        self.row("a forged caller id is not who signs in", self.center.sessions(), {("801", "PJSIP/101")})
        await self.case("and out", "101", "*14801", f"allowed SIGNED_OUT | {OUT}", "-")
        seen = await self.dial("101", "*13801", source='"M\udcfcller" <sip:101@127.0.0.1>')
        self.row("a caller's name in Latin-1", seen, f"allowed ASSIGNED | {IN}")
        await self.case("and out", "101", "*14801", f"allowed SIGNED_OUT | {OUT}", "-")
        await self.case("a Local channel is nobody's", "101", "*18801", f"failed NO_ENDPOINT | {SORRY}", "-")
        await self.case("an endpoint that the dialplan names", "103", "*21801", f"allowed UNASSIGNED_ALLOWED | {IN}", "801:103")
        await self.case("and out", "103", "*14801", f"allowed SIGNED_OUT | {OUT}", "-")

    async def transfers(self):
        """101 calls 102, and transfers the answered call to *13801: it is 102's channel, but 102 didn't dial."""
        manager = self.center.asterisk.manager
        self.phones["102"].answers = True
        first = len(self.center.tap.conversations)

        async def transfer(call):
            await call.answered.wait()
            await asyncio.sleep(1)
            start = [event for event in manager.events if event["Event"] == "Newchannel"]
            channel = next(event["Channel"] for event in reversed(start) if event["Channel"].startswith("PJSIP/101-"))
            answer = await manager.ask(Action="BlindTransfer", Channel=channel, Context="phones", Exten="*13801")
            assert answer[0]["Response"] == "Success", answer

        try:
            await self.dial("101", "102", act=transfer)
            for _ in range(100):
                if len(self.center.tap.conversations) > first and "NOT_DIALED" in self.center.agi.said():
                    break
                await asyncio.sleep(0.1)
            talk = self.center.tap.conversations[first]
            seen = f"{talk.environment['agi_channel'].split('-')[0]} {'NOT_DIALED' if 'NOT_DIALED' in self.center.agi.said() else 'let in'}"
            self.row("a call that 101 transferred is not 102's dial", seen, "PJSIP/102 NOT_DIALED")
            self.row("and nobody is signed in", self.center.sessions(), set())
        except (AssertionError, asyncio.TimeoutError, TimeoutError, IndexError) as error:
            self.row("a call that 101 transferred is not 102's dial", f"{type(error).__name__} {error}", "PJSIP/102 NOT_DIALED")
        self.phones["102"].answers = False

    async def strange_numbers(self):
        for number, expected, members in [
            ("*138%26endpoint%3D102%26queue%3D01", f"denied UNKNOWN_QUEUE | {INVALID}", "-"),
            ("*13801%26endpoint%3D103", f"denied UNKNOWN_QUEUE | {INVALID}", "-"),
            ("*13801%26", f"allowed ASSIGNED | {IN}", "801:101"),
            ("*14801%22", f"allowed SIGNED_OUT | {OUT}", "-"),
            ("*13801%22", f"allowed ASSIGNED | {IN}", "801:101"),
            ("*14801%2C", f"allowed SIGNED_OUT | {OUT}", "-"),
            ("*138%7C01", f"allowed ASSIGNED | {IN}", "801:101"),
            ("*14801%29%7D", f"allowed SIGNED_OUT | {OUT}", "-"),
            ("*138$%7BEXTEN%7D01", f"allowed ASSIGNED | {IN}", "801:101"),
            ("*148%5C01", f"allowed SIGNED_OUT | {OUT}", "-"),
            # The query is then clean, but not the dialed number (agi_dnid).
            ("*138%0a01", f"- - | {SORRY}", "-"),
            ("*13" + "9" * 60, f"denied UNKNOWN_QUEUE | {INVALID}", "-"),
            ("*138", f"denied UNKNOWN_QUEUE | {INVALID}", "-"),
            ("*13%26", f"failed NO_QUEUE | {ASK} {SORRY}", "-"),
        ]:
            await self.case(f"dialed: {number[:44]}", "101", number, expected, members)
        for number, expected in [
            ("*12801%26endpoint%3D102", f"failed BAD_REQUEST | {SORRY}"),
            ("*12801%2Cendpoint=102", f"failed BAD_REQUEST | {SORRY}"),
            ("*12801%26member=no", f"failed BAD_REQUEST | {SORRY}"),
            # The line ends reach the handler: extra lines in its environment, an early end of it, and a forged reply.
            ("*12801%0aEXEC", "- - | -"),
            ("*12801%0aagi_channel%3A%20PJSIP%2F102-00000001", "- - | -"),
            ("*12801%0aagi_channel%3A%20PJSIP%2F102-00000001%0a%0a", "- - | -"),
            ("*12801%0aagi_channel%3APJSIP%2F102-1%0a%0a200%20result%3D1%20(PJSIP%2F102-1)%0a", "- BAD_REQUEST | -"),
        ]:
            await self.case(f"dialed, without FILTER: {number[:44]}", "101", number, expected, "-")

    # Hang-ups, broken connections and outages.

    async def hang_ups(self):
        """At every command of the call, and while a sound is played."""
        for code, word, after in [("*13801", "sign-in", "801:101"), ("*14801", "sign-out", "-")]:
            for at in range(COMMANDS):
                other = "*14801" if after != "-" else "*13801"
                await self.dial("101", other)
                await self.center.until_agreed()
                told = {}

                async def hang_up(call, conversation, number):
                    if number == at:
                        await asyncio.gather(call.hang_up(), asyncio.wait_for(conversation.hung_up.wait(), 5))
                    told["conversation"] = conversation

                seen = await self.dial("101", code, rule=hang_up)
                agreed = " ".join(sorted(f"{queue}:{phone.removeprefix('PJSIP/')}" for queue, phone in await self.center.until_agreed()))
                spoken = seen.conversations[0]
                said = f"{seen.get('QUEUEGATE_STATUS')} {seen.get('AGISTATUS')} commands={len(spoken.commands)} {agreed or '-'}"
                # After the hang-up the handler plays no prompt.
                commands = COMMANDS - (1 if at < COMMANDS - 1 else 0)
                self.row(f"{word}: hung up before command {at}", said, f"allowed HANGUP commands={commands} {after}")

        async def during(call, conversation, number):
            if number == COMMANDS - 1:
                asyncio.get_running_loop().call_later(0.3, lambda: asyncio.ensure_future(call.hang_up()))

        seen = await self.dial("101", "*13801", rule=during)
        self.row("hung up while the prompt is played", f"{seen.get('QUEUEGATE_STATUS')} {seen.get('AGISTATUS')} "
                 f"{[line.split(' endpos')[0] for line in seen.conversations[0].replies[-1]]}",
                 "allowed HANGUP ['200 result=-1', 'HANGUP', 'HANGUP']")  # fmt: skip
        await self.dial("101", "*14801")

        async def asking(call, conversation, number):
            if number == 1:
                asyncio.get_running_loop().call_later(0.3, lambda: asyncio.ensure_future(call.hang_up()))

        seen = await self.dial("101", "*13", rule=asking)
        self.row("hung up while digits are asked for", f"{seen} {seen.conversations[0].replies[1][0]}",
                 f"failed HANGUP | {ASK} 200 result=-1")  # fmt: skip
        await self.center.until_agreed()
        for moment in ["before it is answered", "when it is answered"]:
            for _ in range(10):

                async def at_once(call):
                    await (call.heard if moment.startswith("before") else call.answered).wait()
                    await call.hang_up()

                await self.dial("101", "*15801", act=at_once)
            await self.center.until_agreed()
            self.row(f"hung up {moment}, ten times", "members and sessions agree", "members and sessions agree")
        await self.dial("101", "*14801")
        await self.center.until_agreed()

    async def cuts(self):
        """The handler's connection breaks, or it is killed, at every command."""
        for way in ["cut", "killed"]:
            for at in range(COMMANDS):

                async def break_off(call, conversation, number):
                    if number != at:
                        return None
                    if way == "killed":
                        self.center.agi.kill()
                    return "cut"

                seen = await self.dial("101", "*15801", rule=break_off)
                if way == "killed":
                    await self.center.start_agi()
                try:
                    await self.center.until_agreed()
                    said = "agreed"
                except AssertionError as error:
                    said = str(error)
                self.row(f"connection {way} at command {at}", f"{said} {seen.get('AGISTATUS')}", f"agreed {'SUCCESS'}")
        await self.dial("101", "*14801")
        await self.center.until_agreed()

    async def outages(self):
        center = self.center
        await self.case("sign-in", "101", "*13801", f"allowed ASSIGNED | {IN}", "801:101")
        center.server.kill()
        self.row("queuegate down: sign-in", await self.dial("103", "*13801"), f"failed UNAVAILABLE | {SORRY}")
        self.row("queuegate down: check", await self.dial("103", "*17801"), "failed UNAVAILABLE | -")
        self.row("queuegate down: sign-out", await self.dial("101", "*14801"), f"allowed SIGN_OUT_REMEMBERED | {OUT}")
        self.row("the member is removed", await center.asterisk.members(True), set())
        self.row("one sign-out is pending", len(center.pending()), 1)
        await center.start_server()
        self.row("queuegate back: settled", await center.until_agreed(), set())
        await self.case("sign-in", "101", "*13801", f"allowed ASSIGNED | {IN}", "801:101")
        center.server.kill()
        self.row("queuegate down: toggle", await self.dial("101", "*15801"), f"allowed SIGN_OUT_REMEMBERED | {OUT}")
        center.agi.kill()
        await center.start_agi()
        self.row("the handler killed: still pending", len(center.pending()), 1)
        await center.start_server()
        self.row("queuegate back: settled", await center.until_agreed(), set())

        center.server.signal(signal.SIGSTOP)
        seen = await self.dial("103", "*13801")
        self.row("queuegate stuck: sign-in", seen, f"failed DEADLINE_EXCEEDED | {SORRY}")
        self.row("queuegate stuck: within two seconds", self.took(seen) < 2.0, True)
        seen = await self.dial("103", "*17801")
        self.row("queuegate stuck: check", seen, "failed DEADLINE_EXCEEDED | -")
        self.row("queuegate stuck: within two seconds", self.took(seen) < 2.0, True)
        center.server.signal(signal.SIGCONT)
        self.row("queuegate unstuck: nobody is signed in", await center.until_agreed(), set())
        await self.case("sign-in", "101", "*13801", f"allowed ASSIGNED | {IN}", "801:101")
        center.server.signal(signal.SIGSTOP)
        self.row("queuegate stuck: sign-out", await self.dial("101", "*14801"), f"allowed SIGN_OUT_REMEMBERED | {OUT}")
        self.row("the member is removed", await center.asterisk.members(True), set())
        center.server.signal(signal.SIGCONT)
        self.row("queuegate unstuck: settled", await center.until_agreed(), set())

        center.agi.kill()
        self.row("the handler is dead: it closes without a word", await self.dial("101", "*13801"), f"- - | {SORRY}")
        seen = await self.dial("101", "*16801")
        self.row("the same, by the dialplan", f"{seen} {seen.get('AGISTATUS')}", f"- - | {SORRY} SUCCESS")
        center.tap.close()
        await center.tap.server.wait_closed()
        seen = await self.dial("101", "*13801")
        self.row("nobody listens", f"{seen} {seen.get('AGISTATUS')}", f"- - | {SORRY} FAILURE")
        await center.tap.open()
        await center.start_agi()
        await center.until_agreed()

    def took(self, seen):
        """The duration of the handler, from its log."""
        lines = [line for line in self.center.agi.log.read_text().splitlines() if "took_ms" in line]
        return json.loads(lines[-1])["took_ms"] / 1000

    async def stuck_handler(self):
        """TIMEOUT(absolute) marks the call as hung up, but Asterisk still waits for the handler."""
        self.center.agi.signal(signal.SIGSTOP)
        waited = {}

        async def wait(call):
            await asyncio.sleep(125)
            talk = self.center.tap.conversations[-1]
            waited["seen"] = (call.ended.is_set(), talk.hung_up.is_set())
            self.center.agi.kill()

        seen = await self.dial("103", "*13801", act=wait)
        self.row("the handler stuck for 125 s: ended, HANGUP sent", waited["seen"], (False, True))
        self.row("then it is killed: what the caller gets", f"{seen} by {seen.call.by}", "- - | - by pbx")
        await self.center.start_agi()
        self.row("nobody is signed in", await self.center.until_agreed(), set())

    # Members follow sessions.

    async def reconciling(self):
        center, pbx = self.center, self.center.asterisk

        async def rings(case, *members):
            try:
                await center.until_members(*members)
                self.row(case, "as expected", "as expected")
            except AssertionError as error:
                self.row(case, error, members)

        anna, cleo = ("801", "PJSIP/101"), ("801", "PJSIP/103")
        center.ask("supervisor-sign-in", "sam", "cleo", "sales")
        await rings("a supervisor signs in", cleo)
        center.ask("supervisor-sign-out", "sam", "cleo", "sales")
        await rings("a supervisor signs out")
        center.ask("supervisor-sign-in", "sam", "cleo", "sales", "--ttl", "3s")
        await rings("a supervisor signs in for three seconds", cleo)
        await rings("it expires")
        center.ask("sign-in", "anna", "sales", "--channel", "agent-dashboard", "--device", "browser-7")
        await rings("a dashboard's sign-in rings at the agent's own phone", anna)
        await pbx.cli("queue remove member PJSIP/101 from 801")
        await rings("`queue remove member`: it comes back", anna)
        await pbx.cli("queue add member PJSIP/103 to 801")
        await rings("`queue add member`: it goes", anna)
        await pbx.cli("queue reset stats 801")
        await pbx.cli("module reload app_queue.so")
        await rings("a reload", anna)
        center.server.kill()
        await pbx.cli("queue add member PJSIP/103 to 801")
        await asyncio.sleep(2)
        await rings("queuegate down: nothing is changed on the word of nobody", anna, cleo)
        await center.start_server()
        await rings("queuegate back", anna)
        await pbx.restart()
        await self.register()
        await rings("Asterisk restarted: its members are there", anna)
        center.agi.kill()
        center.ask("sign-out", "anna", "sales")
        center.ask("supervisor-sign-in", "sam", "cleo", "sales")
        await pbx.restart()
        await self.register()
        await rings("the handler down: Asterisk has what it remembers", anna)
        await center.start_agi()
        await rings("the handler back", cleo)
        await pbx.cli("database deltree Queue/PersistentMembers")
        center.agi.signal(signal.SIGSTOP)
        await pbx.restart()
        await self.register()
        center.agi.signal(signal.SIGCONT)
        await rings("Asterisk restarted without a memory", cleo)
        center.ask("supervisor-sign-out", "sam", "cleo", "sales")
        await rings("and out")

    async def encryption(self):
        """The manager interface with TLS, and only with the certificate that it should have."""
        center = self.center
        center.agi.kill()
        arguments = list(center.agi.arguments)
        at = arguments.index("--ami") + 1
        encrypted = [*arguments, "--ami-tls", "--ami-ca", str(center.asterisk.folder / "etc/ami.pem")]
        encrypted[at] = f"127.0.0.1:{center.asterisk.manager_tls_port}"
        at = arguments.index("--journal")
        words = [*encrypted[1:at], *encrypted[at + 2 :], "--journal", str(center.folder / "tls.journal"), "--ami-server-name"]
        for name, expected in [("pbx.example.com", "a plan"), ("other.example.com", "invalid peer certificate")]:
            done = subprocess.run([binary(), "agi", "plan", *words, name], capture_output=True, text=True)
            seen = "a plan" if done.returncode == 0 else done.stderr
            self.row(f"the certificate must name {name}", expected if expected in seen else seen, expected)
        center.agi.arguments = [*encrypted, "--ami-server-name", "pbx.example.com"]
        await center.start_agi()
        center.ask("supervisor-sign-in", "sam", "cleo", "sales")
        with contextlib.suppress(AssertionError):
            await center.until_members(("801", "PJSIP/103"))
        self.row("a supervisor signs in", await center.asterisk.members(dynamic_only=True), {("801", "PJSIP/103")})
        center.ask("supervisor-sign-out", "sam", "cleo", "sales")
        await center.until_members()
        center.agi.kill()
        center.agi.arguments = arguments
        await center.start_agi()

    async def failover(self):
        """The dialplan asks the other handler if the first can't be reached, and only then."""
        await self.case("the first handler is away", "101", "*22801", f"allowed ASSIGNED | {IN}", "801:101")
        await self.case("and out", "101", "*14801", f"allowed SIGNED_OUT | {OUT}", "-")
        await self.case("the first handler is there", "101", "*23801", f"allowed ASSIGNED | {IN}", "801:101")
        await self.case("and out", "101", "*14801", f"allowed SIGNED_OUT | {OUT}", "-")
        await self.case("the first handler refuses", "104", "*23801", f"denied USER_DISABLED | {DENIED}", "-")

        async def kill(call, conversation, number):
            if number == 2:
                self.center.agi.kill()

        seen = await self.dial("101", "*23801", rule=kill)
        self.row("the first handler is killed during the call", f"{seen.get('AGISTATUS')} {len(seen.conversations)}", "SUCCESS 1")
        await self.center.start_agi()
        await self.center.until_agreed()

    async def lamps(self):
        """The hint of a key shows whether its user is signed in."""
        center, pbx = self.center, self.center.asterisk

        async def lamp(user):
            answer = await pbx.manager.ask(Action="ExtensionState", Context="phones", Exten=f"*19{user}*801")
            return {"0": "off", "1": "lit"}.get(answer[0].get("Status"), answer[0])

        async def shows(case, user, expected):
            async def fits():
                return await lamp(user) == expected

            with contextlib.suppress(AssertionError):
                await center.until(f"the lamp of {user}: {expected}", fits)
            self.row(case, await lamp(user), expected)

        await self.dial("101", "*13801")
        await shows("101 signs in: its lamp", "101", "lit")
        center.ask("supervisor-sign-in", "sam", "cleo", "sales", "--ttl", "5s")
        await shows("a supervisor signs 103 in: its lamp", "103", "lit")
        await shows("it expires", "103", "off")
        await pbx.restart()
        await self.register()
        await shows("Asterisk restarted", "101", "lit")
        center.agi.kill()
        center.ask("sign-out", "anna", "sales")
        await center.start_agi()
        await shows("signed out while the handler was down", "101", "off")
        await self.dial("101", "*19101*801")
        await shows("the key dials, and signs in", "101", "lit")
        await self.dial("101", "*19101*801")
        await shows("the key again signs out", "101", "off")

    async def pauses(self):
        """*17 pauses the caller's phone, *18 ends that, and *16 is for all queues."""
        center, pbx = self.center, self.center.asterisk

        async def paused():
            messages = await pbx.manager.ask(Action="QueueStatus")
            return sorted(
                (message["Queue"], message["Location"], message.get("PausedReason", ""))
                for message in messages
                if message.get("Event") == "QueueMember" and message["Paused"] == "1"
            )

        seen = await self.dial("102", "*16")
        self.row("*16 signs in to all assigned queues", seen.variables.get("QUEUEGATE_QUEUES"), "support=ASSIGNED")
        await self.dial("102", "*17")
        # In queue 806 the phone is a static member.
        self.row("*17 pauses", await paused(), [("802", "PJSIP/102", ""), ("806", "PJSIP/102", "")])
        await self.dial("102", "*18")
        self.row("*18 ends the pause", await paused(), [])
        seen = await self.dial("102", "*16")
        self.row("*16 signs out of all", seen.variables.get("QUEUEGATE_QUEUES"), "support=SIGNED_OUT")
        seen = await self.dial("103", "*17")
        self.row("a pause without a queue", seen.variables.get("QUEUEGATE_REASON"), "NOT_A_MEMBER")

    async def profiles(self):
        """A member has the penalty of the assignment and the name of the user."""
        center, pbx = self.center, self.center.asterisk

        async def profile():
            messages = await pbx.manager.ask(Action="QueueStatus", Queue="801")
            found = [message for message in messages if message.get("Location") == "PJSIP/101"]
            return " ".join([found[0]["Penalty"], found[0]["Name"]]) if found else "-"

        def is_now(expected):
            async def fits():
                return await profile() == expected

            return fits

        center.ask("assign", "anna", "sales", "--role", "agent", "--penalty", "7")
        await self.dial("101", "*13801")
        self.row("the penalty and the name", await profile(), "7 Anna Berg")
        center.ask("assign", "anna", "sales", "--role", "agent", "--penalty", "3")
        await pbx.cli("queue add member PJSIP/103 to 801")
        await center.until("another penalty", is_now("3 Anna Berg"))
        self.row("another penalty, at the next comparison", await profile(), "3 Anna Berg")
        center.agi.kill()
        await pbx.cli("queue remove member PJSIP/101 from 801")
        await center.start_agi()
        await center.until("the member again", is_now("3 Anna Berg"))
        self.row("a member that is added again", await profile(), "3 Anna Berg")
        await self.dial("101", "*14801")
        center.ask("assign", "anna", "sales", "--role", "agent", "--penalty", "0")

    async def hot_desks(self):
        """Any phone asks for a number and a PIN, and rings for that person."""
        center = self.center
        center.agi.kill()
        arguments = list(center.agi.arguments)
        center.agi.arguments = [*arguments, "--identify", "pin", "--move"]
        await center.start_agi()
        for user, pin in [("anna", "4711"), ("bo", "4712")]:
            center.ask("pin", "set", user, typed=pin)
        asked = "agent-user agent-pass"
        anna, bo = ["101#", "4711#"], ["102#", "4712#"]
        await self.case("a number and a PIN at another's phone", "103", "*13801", f"allowed ASSIGNED | {asked} {IN}", "801:103",
                        keys=anna)  # fmt: skip
        await self.case("another person there", "103", "*13801", f"denied PHONE_IN_USE | {asked} {DENIED}", "801:103", keys=bo)
        await self.case("the person moves", "102", "*13801", f"allowed ASSIGNED | {asked} {IN}", "801:102", keys=anna)
        await self.case("a wrong PIN first", "103", "*13802", f"allowed ASSIGNED | {asked} agent-incorrect agent-pass {IN}",
                        "801:102 802:103", keys=["102#", "0815#", *bo])  # fmt: skip
        await self.case("three wrong ones", "101", "*14801",
                        f"denied WRONG_PIN | {asked} agent-incorrect agent-pass agent-incorrect agent-pass vm-incorrect",
                        "801:102 802:103", keys=["101#", "1#", "101#", "0001#", "101#", "0002#"])  # fmt: skip
        await self.case("a sign-out from any phone", "103", "*14801", f"allowed SIGNED_OUT | {asked} {OUT}", "802:103", keys=anna)
        await self.case("a toggle at another phone moves", "101", "*15802", f"allowed ASSIGNED | {asked} {IN}", "802:101", keys=bo)
        await self.case("a toggle there signs out", "101", "*15802", f"allowed SIGNED_OUT | {asked} {OUT}", "-", keys=bo)
        center.agi.kill()
        center.agi.arguments = arguments
        await center.start_agi()

    async def adoption(self):
        """A PBX with members of its own: they stay until the plan was seen, and get sessions by adoption."""
        center, pbx = self.center, self.center.asterisk
        center.agi.kill()
        arguments, journal = list(center.agi.arguments), str(center.folder / "live.journal")
        live = [*arguments, "--journal", journal, "--reconcile", "planned"]
        for repeated in ["--journal", "--reconcile"]:
            first = live.index(repeated)
            del live[first : first + 2]
        center.agi.arguments = live
        for member in ["101", "999"]:
            await pbx.cli(f"queue add member PJSIP/{member} to 801")
        await center.start_agi()
        # A change that is reconciled shows that the comparison is over.
        center.ask("supervisor-sign-in", "sam", "cleo", "sales")
        anna, cleo, nobody = ("801", "PJSIP/101"), ("801", "PJSIP/103"), ("801", "PJSIP/999")
        await center.until_members(anna, cleo, nobody)
        center.ask("supervisor-sign-out", "sam", "cleo", "sales")
        await center.until_members(anna, nobody)
        self.row("before a plan", "members of the PBX stay", "members of the PBX stay")
        command = lambda *words: subprocess.run([binary(), "agi", *words, *live[1:]], capture_output=True, text=True)
        plan = command("plan")
        self.row("the plan", plan.stdout.splitlines()[-1:], ["10 queues: 0 members to add, 2 to remove, 1 to leave"])
        adopted = command("adopt", "--yes")
        self.row("adopted", adopted.stdout.splitlines()[-1:], ["1 members are signed in, 1 have no session"])
        center.agi.kill()
        await center.start_agi()
        with contextlib.suppress(AssertionError):
            await center.until_members(anna)
        self.row("the next start", await pbx.members(dynamic_only=True), {anna})
        center.agi.kill()
        center.ask("sign-out", "anna", "sales")
        center.agi.arguments = arguments
        await center.start_agi()
        await center.until_members()

    async def queues_conf(self):
        """Asterisk and `queuegate import` read the same static members."""
        center, etc = self.center, self.center.asterisk.folder / "etc"
        own = (etc / "queues.conf").read_bytes()
        REFUSED = "refused"

        async def load(files):
            for name, text in files.items():
                (etc / name).parent.mkdir(exist_ok=True)
                (etc / name).write_bytes(text if isinstance(text, bytes) else text.encode())
            await center.asterisk.manager.ask(Action="QueueReload")
            messages = await center.asterisk.manager.ask(Action="QueueStatus")
            found = [message for message in messages if message.get("Event") == "QueueMember"]
            return {(message["Queue"], message["Location"], int(message["Penalty"])) for message in found}

        for case, files in CASES.items():
            before = await load(BEFORE)
            members = await load(files)
            theirs = REFUSED if members == before else members
            done = center.run("import", "--from", "asterisk-queues", str(etc / "queues.conf"), "--validate-only", "--json")
            ours = REFUSED
            if done.returncode in (0, 1):
                ours = {(member["pbx_queue"], member["interface"], member["penalty"] or 0) for member in json.loads(done.stdout)["members"]}
            elif "Asterisk refuses the whole file" not in done.stderr:
                ours = done.stderr
            show = lambda read: read if isinstance(read, str) else " ".join(f"{queue}:{phone},{penalty}" for queue, phone, penalty in sorted(read)) or "-"
            self.row(f"queues.conf: {case}", show(ours), show(theirs))
            for name in files:
                (etc / name).unlink()
        await load({"queues.conf": own})

    async def several_pbxs(self):
        """Two Asterisks, and two handlers at one of them."""
        await several_pbxs(self)

    async def freepbx(self):
        """FreePBX's codes and keys, with queues of both."""
        await freepbx(self)

    async def ringing(self):
        """A call into the queue rings exactly the signed-in agents."""
        for phone in self.phones.values():
            phone.rings = 0
        rang = lambda: " ".join(name for name, phone in sorted(self.phones.items()) if phone.rings) or "nobody"

        async def give_up(call):
            await call.answered.wait()
            end = time.monotonic() + 30
            while time.monotonic() < end and not call.ended.is_set() and sum(p.rings for p in self.phones.values()) < wanted:
                await asyncio.sleep(0.1)
            await asyncio.sleep(1)
            await call.hang_up()

        wanted = 1
        await self.dial("999", "801", act=give_up)
        self.row("nobody signed in: who rings", rang(), "nobody")
        await self.dial("101", "*13801")
        await self.dial("999", "801", act=give_up)
        self.row("101 signed in: who rings", rang(), "101")
        await self.dial("103", "*13801")
        # One after the other: the first phone doesn't answer within the queue's timeout.
        for phone in self.phones.values():
            phone.rings = 0
        wanted = 2
        await self.dial("999", "801", act=give_up, seconds=90)
        self.row("101 and 103 signed in: who rings", rang(), "101 103")
        await self.dial("101", "*14801")
        for phone in self.phones.values():
            phone.rings = 0
        wanted = 1
        await self.dial("999", "801", act=give_up)
        self.row("101 signed out: who rings", rang(), "103")
        await self.dial("103", "*14801")
        await self.center.until_agreed()

    # Concurrent calls.

    async def two_phones(self):
        """Two phones of one endpoint, at the same moment."""
        other = Phone(self.line, "101", PASSWORD, "101-at-home")
        await other.register()
        random.seed(13)
        for _ in range(30):
            calls = [phone.dial(random.choice(["*13801", "*14801", "*15801"])) for phone in (self.phones["101"], other) for _ in range(2)]
            await asyncio.gather(*(call.until_ended(PATIENCE_OF_A_CALL) for call in calls))
            await self.center.until_agreed()
        self.row("two phones of one agent, 30 times two calls each", "agreed", "agreed")
        await self.dial("101", "*13801")
        self.phones["101"].rings = other.rings = 0

        async def both(call):
            await call.answered.wait()
            await asyncio.sleep(3)
            await call.hang_up()

        await self.dial("999", "801", act=both)
        # Asterisk rings only one contact of a member PJSIP/101; queuegate can't change that.
        self.row("phones of 101 that ring", self.phones["101"].rings + other.rings, 1)
        await self.dial("101", "*14801")
        await self.center.until_agreed()

    async def flood(self, number=500):
        """This many dials at the same moment."""
        from center import CAMPAIGN_QUEUES, CAMPAIGN_USERS

        phones = [Phone(self.line, user, PASSWORD) for user in CAMPAIGN_USERS]
        for phone in phones:
            await phone.register()
        begun = time.monotonic()
        events = len(self.center.asterisk.manager.events)
        calls = [
            phones[index % len(phones)].dial("*13" + CAMPAIGN_QUEUES[index // len(phones) % (len(CAMPAIGN_QUEUES) - 1)])
            for index in range(number)
        ]
        await asyncio.gather(*(call.until_ended(120) for call in calls))
        took = time.monotonic() - begun
        agreed = await self.center.until_agreed(60)
        told = {}
        for event in self.center.asterisk.manager.events[events:]:
            if event["Event"] == "VarSet" and event["Variable"] == "QUEUEGATE_REASON":
                told[event["Value"]] = told.get(event["Value"], 0) + 1
        print(f"    {number} dials at once, {took:.1f} s: {told}; {len(agreed)} members")
        answered = sum(call.status == 200 for call in calls)
        # An overloaded machine tells a refused caller so, and doesn't sign them in.
        counts = f"{answered} {len(agreed) == told.get('UNASSIGNED_ALLOWED')} {sum(told.values())}"
        self.row(f"{number} dials at once: answered, members as told, all told", counts, f"{number} True {number}")
        for user, queue in {(phone.removeprefix("PJSIP/"), queue) for queue, phone in agreed}:
            self.center.ask("sign-out", f"ext:{user}", f"ext:{queue}")
        await self.center.until_agreed()
