"""Every case of *13, by real calls. Each prints its result and the expected result."""

import asyncio
import contextlib
import re
import subprocess
import time
import uuid

from center import DOMAIN, PASSWORD, PATIENCE, SOUNDS, binary
from phone import Phone, response

GROUPS = ["calls", "members", "identity", "transfers", "hang_ups", "cuts", "outages", "failover", "reconciling", "lamps", "pauses",
          "penalties", "hot_desks", "adoption", "ringing"]  # fmt: skip
PATIENCE_OF_A_CALL = 60 + PATIENCE


class Seen:
    """The result of a call."""

    def __init__(self, call, events):
        self.call = call
        self.variables = {
            name.removeprefix("variable_"): value
            for event in events
            if event["Event-Name"] == "CHANNEL_HANGUP_COMPLETE"
            for name, value in event.items()
            if name.startswith("variable_")
        }
        played = [event["Application-Data"] for event in events if event.get("Application") in ("playback", "read")]
        files = [re.search(r"ivr/\S+", data) for data in played]
        self.sounds = [SOUNDS[file.group()] for file in files if file]

    def get(self, name):
        return self.variables.get(name, "")

    def __str__(self):
        status, reason = self.get("QUEUEGATE_STATUS"), self.get("QUEUEGATE_REASON")
        return f"{status or '-'} {reason or '-'} | {' '.join(self.sounds) or '-'}"


class Cases:
    def __init__(self, center, line):
        self.center, self.pbx, self.line = center, center.pbx, line
        self.rows = []
        self.phones = {name: Phone(line, name, PASSWORD) for name in ["101", "102", "103", "104", "999"]}

    async def register(self):
        for phone in self.phones.values():
            await phone.register()

    async def restart(self, forget=False):
        await self.pbx.restart(forget)
        await self.register()

    def row(self, case, seen, expected):
        is_so = str(seen) == str(expected)
        self.rows.append((case, str(seen), str(expected), is_so))
        mark = "ok " if is_so else "NOT"
        print(f"{mark} {case:56} {seen}" + ("" if is_so else f"\n    expected: {expected}"), flush=True)

    async def dial(self, user, number, keys=(), source=None, rule=None, act=None, seconds=PATIENCE_OF_A_CALL):
        """Dials, presses keys whenever the handler asks for digits, and waits for the end of the call."""
        events = self.pbx.socket
        start, keys = len(events.events), list(keys)
        call = self.phones[user].dial(number, source)

        async def at(place):
            return await rule(call, place)

        self.center.tap.rule = at if rule else None
        pressing = asyncio.create_task(self.press(call, start, keys)) if keys else None
        try:
            if act:
                await act(call)
            await call.until_ended(seconds)
        finally:
            if pressing:
                pressing.cancel()
        is_own = lambda event: event["Event-Name"] == "CHANNEL_HANGUP_COMPLETE" and event.get("variable_sip_call_id") == call.id
        gone = await events.until(start, is_own, seconds)
        self.center.tap.rule = None
        return Seen(call, [event for event in events.events[start:] if event.get("Unique-ID") == gone["Unique-ID"]])

    async def press(self, call, start, keys):
        """Enters one number at each prompt."""
        asked = 0
        while keys:
            now = sum(event.get("Application") == "read" for event in self.pbx.socket.events[start:])
            if now > asked:
                asked = now
                await asyncio.sleep(0.5)
                await call.press(keys.pop(0))
            await asyncio.sleep(0.05)

    async def case(self, name, user, number, expected, members=None, **more):
        """Makes a call, and checks its result and the members. Sessions must agree."""
        try:
            seen = str(await self.dial(user, number, **more))
            agreed = await self.center.until_agreed(15)
            if members is not None:
                expected += f" | {members}"
                seen += " | " + (" ".join(sorted(f"{queue}:{phone}" for queue, phone in agreed)) or "-")
        except (AssertionError, asyncio.TimeoutError, TimeoutError) as error:
            seen = f"{type(error).__name__} {error}"
        self.row(name, seen, expected)

    async def out(self):
        await self.case("and out", "101", "*14801", "allowed SIGNED_OUT | out", "-")

    async def calls(self):
        await self.case("*13801 signs in", "101", "*13801", "allowed ASSIGNED | in", "801:101")
        self.row("the agent is available", await self.pbx.status("101"), "Available")
        await self.case("again", "101", "*13801", "allowed ALREADY_SIGNED_IN | in", "801:101")
        await self.case("*14801 signs out", "101", "*14801", "allowed SIGNED_OUT | out", "-")
        self.row("the agent is logged out", await self.pbx.status("101"), "Logged Out")
        await self.case("again", "101", "*14801", "allowed NOT_SIGNED_IN | out", "-")
        await self.case("*15801 toggles in", "101", "*15801", "allowed ASSIGNED | in", "801:101")
        await self.case("and out", "101", "*15801", "allowed SIGNED_OUT | out", "-")
        await self.case("a check changes and plays nothing", "101", "*27801", "allowed ASSIGNED | -", "-")
        self.center.ask("settings", "set", "organization.unassigned_queue_sign_in=RESTRICTED")
        await self.case("denied", "102", "*13801", "denied UNASSIGNED_RESTRICTED | denied", "-")
        self.center.ask("settings", "set", "organization.unassigned_queue_sign_in=ALLOWED")
        await self.case("unassigned, allowed", "103", "*13801", "allowed UNASSIGNED_ALLOWED | in", "801:103")
        await self.case("and out", "103", "*14801", "allowed SIGNED_OUT | out", "-")
        await self.case("a disabled user", "104", "*13801", "denied USER_DISABLED | denied", "-")
        await self.case("a phone without a user", "999", "*13801", "denied UNKNOWN_USER | denied", "-")
        await self.case("an unknown queue", "101", "*13899", "denied UNKNOWN_QUEUE | invalid", "-")
        await self.case("an inbox", "101", "*13803", "denied QUEUE_KIND_NOT_SUPPORTED | denied", "-")
        await self.case("*13 and digits", "101", "*13", "allowed ASSIGNED | ask in", "801:101", keys=["801#"])
        await self.case("*14 and digits, without #", "101", "*14", "allowed SIGNED_OUT | ask out", "-", keys=["801"])
        await self.case("*13 and wrong digits first", "101", "*13", "allowed ASSIGNED | ask invalid ask invalid ask in", "801:101",
                        keys=["899#", "*1#", "801#"])  # fmt: skip
        await self.out()
        await self.case("*13 and nothing", "101", "*13", "failed NO_QUEUE | ask sorry", "-")
        await self.case("with async, the dialplan goes on", "101", "*23801", "allowed ASSIGNED | in", "801:101")
        seen = await self.dial("101", "*23801")
        self.row("and out, and the dialplan goes on", f"{seen} {seen.get('after')}", "allowed SIGNED_OUT | out yes")
        await self.case("without full, nothing is done", "101", "*24801", "- - | -", "-")

    async def members(self):
        await self.case("a queue that the PBX lacks", "101", "*13805", "failed NO_SUCH_QUEUE | sorry", "-")
        await self.pbx.callcenter(f"agent add 103@{DOMAIN} Callback")
        await self.case("an agent that lacks a contact", "103", "*13801", "allowed UNASSIGNED_ALLOWED | in", "801:103")
        contact = {row["name"]: row.get("contact") for row in await self.pbx.rows("agent list")}[f"103@{DOMAIN}"]
        self.row("gets it", contact, f"user/103@{DOMAIN}")
        await self.case("and out", "103", "*14801", "allowed SIGNED_OUT | out", "-")
        await self.pbx.callcenter(f"agent set contact 103@{DOMAIN} [leg_timeout=9]user/103@{DOMAIN}")
        await self.case("a contact of the administrator", "103", "*13801", "allowed UNASSIGNED_ALLOWED | in", "801:103")
        contact = {row["name"]: row.get("contact") for row in await self.pbx.rows("agent list")}[f"103@{DOMAIN}"]
        self.row("stays", contact, f"[leg_timeout=9]user/103@{DOMAIN}")
        await self.case("and out", "103", "*14801", "allowed SIGNED_OUT | out", "-")
        seen = await self.dial("102", "*13806")
        self.row("a static tier", seen, "allowed UNASSIGNED_ALLOWED | in")
        seen = await self.dial("102", "*14806")
        self.row("a static tier signs out, and rings on", seen, "failed MEMBER_IS_STATIC | sorry")
        await self.case("two queues", "101", "*13801", "allowed ASSIGNED | in", "801:101")
        await self.case("and the other", "101", "*13802", "allowed UNASSIGNED_ALLOWED | in", "801:101 802:101")
        await self.case("out of one", "101", "*14801", "allowed SIGNED_OUT | out", "802:101")
        self.row("the agent stays available", await self.pbx.status("101"), "Available")
        await self.case("out of the other", "101", "*14802", "allowed SIGNED_OUT | out", "-")

    async def identity(self):
        await self.case("a forged caller id", "101", "*13801", "allowed ASSIGNED | in", "801:101", source='"Bo" <sip:102@127.0.0.1>')
        await self.out()
        await self.case("a loopback channel is nobody's", "101", "*28801", "- - | -", "-")
        self.row("and the log says so", "is not the channel of an authenticated phone" in self.center.esl.said(), True)
        await self.case("an endpoint that the dialplan names", "103", "*21801", "allowed UNASSIGNED_ALLOWED | in", "801:103")
        await self.case("and out", "103", "*14801", "allowed SIGNED_OUT | out", "-")

    async def transfers(self):
        """101 calls 102, and one of the two is transferred to *13801, which nobody dialed."""
        self.phones["102"].answers = True

        async def nobody(case, act, said):
            before = self.center.esl.said().count(said)
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError, AssertionError):
                await self.dial("101", "102", act=act, seconds=20)
            for _ in range(50):
                if self.center.esl.said().count(said) > before:
                    break
                await asyncio.sleep(0.1)
            seen = said if self.center.esl.said().count(said) > before else "no refusal"
            self.row(case, f"{seen} {sorted(self.center.sessions())}", f"{said} []")
            await self.pbx.api("hupall")

        async def channels():
            return [line.split(",") for line in (await self.pbx.api("show channels")).splitlines() if "sofia/" in line]

        def by_operator(direction):
            async def act(call):
                await call.answered.wait()
                await asyncio.sleep(1)
                leg = next(row[0] for row in await channels() if row[1] == direction)
                await self.pbx.api(f"uuid_transfer {leg} *13801 XML phones")

            return act

        async def by_refer(call):
            await call.answered.wait()
            await asyncio.sleep(1)
            refer = call.within("REFER", 50).replace(
                "Content-Length: 0",
                f"Contact: <sip:101@127.0.0.1:{self.line.port}>\r\nRefer-To: <sip:*13801@{DOMAIN}>\r\n"
                f"Referred-By: <sip:101@{DOMAIN}>\r\nContent-Length: 0",
            )
            await self.line.request(refer, call.last_branch, "REFER")

        # The caller's channel is authenticated, but its phone dialed another number. The called channel is nobody's.
        await nobody("the caller is transferred", by_operator("inbound"), "NOT_DIALED")
        await nobody("the called is transferred", by_operator("outbound"), "not the channel of an authenticated phone")
        await nobody("101 transfers the called (REFER)", by_refer, "not the channel of an authenticated phone")
        self.phones["102"].answers = False
        original = Phone.rung

        def forward(phone, invite):
            self.line.send(response(invite, "302 Moved", uuid.uuid4().hex[:8], f"Contact: <sip:*13801@{DOMAIN}>\r\n"))

        Phone.rung = forward
        await nobody("102 forwards the call (302)", None, "NOT_DIALED")
        Phone.rung = original
        seen = await self.dial("101", "*29801")
        self.row("the dialplan's own `transfer`", seen, "denied NOT_DIALED | denied")
        self.phones["103"].answers = True
        await self.pbx.api(f"originate user/103@{DOMAIN} *13801 XML phones")
        await asyncio.sleep(2)
        self.phones["103"].answers = False
        await self.pbx.api("hupall")
        self.row("a call that a program originates signs nobody in", sorted(self.center.sessions()), [])

    async def hang_ups(self):
        """At every command of the call. Before `linger`, the second one, FreeSWITCH closes the connection, and nothing is done."""
        for code, before, after in [("*13801", "-", "801:101"), ("*14801", "801:101", "-")]:
            for at in range(40):
                await self.dial("101", "*14801" if after != "-" else "*13801")
                await self.center.until_agreed()

                async def hang_up(call, number):
                    if number == at:
                        await call.hang_up()
                        await asyncio.sleep(0.2)

                await self.dial("101", code, rule=hang_up)
                commands = len(self.center.tap.calls[-1])
                agreed = " ".join(sorted(f"{queue}:{phone}" for queue, phone in await self.center.until_agreed())) or "-"
                self.row(f"{code}: the caller hangs up at command {at}", agreed, before if at < 2 else after)
                if at >= 2 and at + 1 >= commands:
                    break

    async def cuts(self):
        """The connection breaks at every command of the call. The session and the tier agree afterwards."""
        for code in ["*13801", "*14801"]:
            for at in range(40):
                await self.dial("101", "*14801" if code == "*13801" else "*13801")
                await self.center.until_agreed()

                async def cut(call, number):
                    return "cut" if number == at else None

                await self.dial("101", code, rule=cut)
                is_over = len(self.center.tap.calls[-1]) < at
                agreed = await self.center.until_agreed()
                self.row(f"{code}: cut at command {at}", "agreed", "agreed")
                if is_over:
                    break
        if agreed:
            await self.dial("101", "*14801")
            await self.center.until_agreed()

    async def outages(self):
        await self.dial("101", "*13801")
        self.center.server.kill()
        seen = await self.dial("101", "*14801")
        self.row("queuegate down: sign-out", seen, "allowed SIGN_OUT_REMEMBERED | out")
        self.row("the phone doesn't ring", sorted(await self.pbx.members()), [])
        seen = await self.dial("101", "*13801")
        self.row("queuegate down: sign-in", seen, "failed UNAVAILABLE | sorry")
        await self.center.start_server()
        self.row("queuegate back", sorted(await self.center.until_agreed()), [])
        self.center.esl.kill()
        seen = await self.dial("101", "*13801")
        self.row("the handler down", seen, "- - | sorry")
        await self.center.start_esl()
        await self.case("the handler back", "101", "*13801", "allowed ASSIGNED | in", "801:101")
        await self.out()

    async def failover(self):
        await self.case("the first handler is away", "101", "*22801", "allowed ASSIGNED | in", "801:101")
        await self.out()

    async def reconciling(self):
        center, pbx = self.center, self.pbx
        anna, cleo = ("801", "101"), ("801", "103")

        async def rings(case, *expected):
            with contextlib.suppress(AssertionError):
                await center.until_members(*expected)
            self.row(case, sorted(await pbx.members()), sorted(expected))

        center.ask("supervisor-sign-in", "sam", "anna", "sales")
        await rings("a supervisor signs 101 in", anna)
        await pbx.callcenter(f"tier del 801@default 101@{DOMAIN}")
        await rings("`tier del`: it comes back", anna)
        await pbx.callcenter(f"agent set status 101@{DOMAIN} 'Logged Out'")
        await rings("`agent set status 'Logged Out'`: it comes back", anna)
        await pbx.callcenter(f"agent del 101@{DOMAIN}")
        await rings("`agent del`: it comes back", anna)
        await pbx.callcenter(f"agent set status 101@{DOMAIN} 'On Break'")
        for words in [f"agent add 103@{DOMAIN} Callback", f"agent set contact 103@{DOMAIN} user/103@{DOMAIN}",
                      f"agent set status 103@{DOMAIN} Available", f"tier add 801@default 103@{DOMAIN} 1 1"]:  # fmt: skip
            await pbx.callcenter(words)
        await rings("`tier add`: it goes", anna)
        self.row("a pause stays", await pbx.status("101"), "On Break")
        await pbx.callcenter("queue reload 801@default")
        await rings("a reload", anna)
        center.server.kill()
        await pbx.callcenter(f"agent set status 103@{DOMAIN} Available")
        await pbx.callcenter(f"tier add 801@default 103@{DOMAIN} 1 1")
        await asyncio.sleep(2)
        await rings("queuegate down: nothing is changed", anna, cleo)
        await center.start_server()
        await rings("queuegate back", anna)
        await self.restart()
        await rings("FreeSWITCH restarted: its tiers are there", anna)
        await self.restart(forget=True)
        await rings("FreeSWITCH restarted without a memory", anna)
        center.esl.kill()
        center.ask("sign-out", "anna", "sales")
        center.ask("supervisor-sign-in", "sam", "cleo", "sales")
        await rings("the handler down", anna)
        await center.start_esl()
        await rings("the handler back", cleo)
        center.ask("supervisor-sign-out", "sam", "cleo", "sales")
        await rings("and out")
        center.ask("supervisor-sign-in", "sam", "cleo", "sales", "--ttl", "3s")
        await rings("a session", cleo)
        await rings("it expires")
        await center.until_agreed()

    async def lamps(self):
        """A phone that subscribes to its key's presence hears whether its user is signed in."""
        center, notified = self.center, {}
        original = self.line.datagram_received

        def received(data, address):
            text = data.decode("utf-8", "replace")
            if text.startswith("NOTIFY") and "dialog-info" in text:
                entity = re.search(r'entity="sip:([^"]+)"', text)
                state = re.search(r"<state>(\w+)</state>", text)
                if entity:
                    notified[entity.group(1).split("@")[0].replace("%2B", "+")] = state.group(1) if state else "none"
            original(data, address)

        self.line.datagram_received = received

        async def subscribe(user):
            target = f"sip:queuegate+{user}-801@{DOMAIN}"
            answer, _, _ = await self.phones["102"].send(
                "SUBSCRIBE", target, uuid.uuid4().hex, uuid.uuid4().hex[:8], f"<{target}>", 1,
                "Event: dialog\r\nAccept: application/dialog-info+xml\r\nExpires: 3600\r\n",
            )  # fmt: skip
            assert answer is not None and answer.status in (200, 202), answer and answer.start

        async def shows(case, user, expected):
            lamp = lambda: {"confirmed": "lit"}.get(notified.get(f"queuegate+{user}-801"), "off")
            with contextlib.suppress(AssertionError):
                await center.until(f"the lamp of {user}: {expected}", lambda: lamp() == expected, 15)
            self.row(case, lamp(), expected)

        await subscribe("101")
        await self.dial("101", "*13801")
        await shows("101 signs in: its lamp", "101", "lit")
        center.ask("supervisor-sign-in", "sam", "cleo", "sales")
        await center.until_members(("801", "101"), ("801", "103"))
        await subscribe("103")
        await shows("a phone subscribes to a lamp that is lit", "103", "lit")
        center.ask("supervisor-sign-out", "sam", "cleo", "sales")
        await shows("a supervisor signs 103 out", "103", "off")
        await self.dial("101", "queuegate%2B101-801")
        await shows("the key dials, and signs out", "101", "off")
        center.esl.kill()
        center.ask("supervisor-sign-in", "sam", "anna", "sales")
        await center.start_esl()
        await shows("signed in while the handler was down", "101", "lit")
        center.ask("sign-out", "anna", "sales")
        await shows("and out", "101", "off")
        self.line.datagram_received = original
        await center.until_agreed()

    async def pauses(self):
        seen = await self.dial("101", "*16")
        self.row("*16 signs in to all assigned queues", seen.get("QUEUEGATE_QUEUES"), "sales=ASSIGNED")
        seen = await self.dial("101", "*17")
        self.row("*17 pauses", f"{seen} {await self.pbx.status('101')}", "allowed PAUSED | paused On Break")
        seen = await self.dial("101", "*18")
        self.row("*18 ends the pause", f"{seen} {await self.pbx.status('101')}", "allowed UNPAUSED | unpaused Available")
        await self.dial("101", "*17")
        seen = await self.dial("101", "*13801")
        self.row("a sign-in ends it too", f"{seen} {await self.pbx.status('101')}", "allowed ALREADY_SIGNED_IN | in Available")
        seen = await self.dial("101", "*16")
        self.row("*16 signs out of all", seen.get("QUEUEGATE_QUEUES"), "sales=SIGNED_OUT")
        seen = await self.dial("103", "*17")
        self.row("a pause without a queue", seen, "denied NOT_A_MEMBER | denied")

    async def penalties(self):
        """The penalty of an assignment and one is the tier's level. Another level is set back."""

        async def level():
            rows = await self.pbx.rows("tier list")
            return next((row["level"] for row in rows if row["agent"] == f"101@{DOMAIN}"), "none")

        self.center.ask("assign", "anna", "sales", "--role", "agent", "--penalty", "3")
        await self.dial("101", "*13801")
        self.row("a penalty of 3", await level(), "4")
        await self.pbx.callcenter(f"tier set level 801@default 101@{DOMAIN} 9")
        await self.pbx.callcenter("queue reload 801@default")
        for _ in range(100):
            if await level() == "4":
                break
            await asyncio.sleep(0.1)
        self.row("another level is set back", await level(), "4")
        self.center.ask("assign", "anna", "sales", "--role", "agent", "--penalty", "0")
        await self.out()

    async def hot_desks(self):
        """With --identify pin, any phone asks for a number and a PIN, and rings for that agent."""
        center = self.center
        center.esl.kill()
        arguments = list(center.esl.arguments)
        center.esl.arguments = [*arguments, "--identify", "pin", "--move", "--deadline", "30s"]
        await center.start_esl()
        center.ask("pin", "set", "anna", typed="4711")
        sounds = "agent pin"

        async def dial(case, user, number, keys, expected, *members):
            logged = (self.pbx.folder / "log/freeswitch.log").read_text().count("RECV DTMF")
            seen = await self.dial(user, number, keys=keys)
            for _ in range(100):
                if await self.pbx.members() == set(members):
                    break
                await asyncio.sleep(0.1)
            self.row(case, f"{seen} | {sorted(await self.pbx.members())}", f"{expected} | {sorted(members)}")
            self.row("variables with the PIN", [name for name, value in seen.variables.items() if "4711" in value], [])
            self.row("keys in FreeSWITCH's log", (self.pbx.folder / "log/freeswitch.log").read_text().count("RECV DTMF") - logged, 0)

        await dial("101 at the phone 103", "103", "*13801", ["101#", "4711#"], f"allowed ASSIGNED | {sounds} in", ("801", "103"))
        await dial("moves to the phone 999", "999", "*13801", ["101#", "4711#"], f"allowed ASSIGNED | {sounds} in", ("801", "999"))
        await dial("a wrong PIN", "103", "*13801", ["101#", "1111#"] * 3, f"denied WRONG_PIN | {' '.join([sounds] * 3)} invalid",
                   ("801", "999"))  # fmt: skip
        await dial("signs out at 103", "103", "*14801", ["101#", "4711#"], f"allowed SIGNED_OUT | {sounds} out")
        center.esl.kill()
        center.esl.arguments = arguments
        await center.start_esl()

    async def adoption(self):
        """A PBX with members of its own: they stay until the plan was seen, and get sessions by adoption."""
        center, pbx = self.center, self.pbx
        center.esl.kill()
        arguments = list(center.esl.arguments)
        live = [*arguments, "--journal", str(center.folder / "live.journal"), "--reconcile", "planned"]
        for repeated in ["--journal", "--reconcile"]:
            first = live.index(repeated)
            del live[first : first + 2]
        center.esl.arguments = live
        for user in ["101", "999"]:
            for words in [f"agent add {user}@{DOMAIN} Callback", f"agent set contact {user}@{DOMAIN} user/{user}@{DOMAIN}",
                          f"agent set status {user}@{DOMAIN} Available", f"tier add 801@default {user}@{DOMAIN} 1 1"]:  # fmt: skip
                await pbx.callcenter(words)
        await center.start_esl()
        center.ask("supervisor-sign-in", "sam", "cleo", "sales")
        await center.until_members(("801", "101"), ("801", "103"), ("801", "999"))
        center.ask("supervisor-sign-out", "sam", "cleo", "sales")
        await center.until_members(("801", "101"), ("801", "999"))
        self.row("before a plan", "members of the PBX stay", "members of the PBX stay")
        command = lambda *words: subprocess.run([binary(), "esl", *words, *live[1:]], capture_output=True, text=True)
        plan = command("plan")
        self.row("the plan", plan.stdout.splitlines()[-1:] or plan.stderr, ["3 queues: 0 members to add, 2 to remove, 1 to leave"])
        adopted = command("adopt", "--yes")
        self.row("adopted", adopted.stdout.splitlines()[-1:] or adopted.stderr, ["1 members are signed in, 1 have no session"])
        center.esl.kill()
        await center.start_esl()
        with contextlib.suppress(AssertionError):
            await center.until_members(("801", "101"))
        self.row("the next start", sorted(await pbx.members()), [("801", "101")])
        center.esl.kill()
        center.ask("sign-out", "anna", "sales")
        center.esl.arguments = arguments
        await center.start_esl()
        await center.until_members()

    async def ringing(self):
        """A call into the queue rings exactly the signed-in agents."""
        rang = lambda: " ".join(name for name, phone in sorted(self.phones.items()) if phone.rings) or "nobody"

        async def ring(case, expected):
            for phone in self.phones.values():
                phone.rings = 0
            wanted = len(expected.split()) if expected != "nobody" else 1

            async def give_up(call):
                await call.answered.wait()
                end = time.monotonic() + (8 if expected == "nobody" else 40)
                while time.monotonic() < end and sum(bool(phone.rings) for phone in self.phones.values()) < wanted:
                    await asyncio.sleep(0.1)
                await asyncio.sleep(1)
                await call.hang_up()

            await self.dial("999", "801", act=give_up, seconds=90)
            self.row(case, rang(), expected)

        await ring("nobody signed in: who rings", "nobody")
        await self.dial("101", "*13801")
        await ring("101 signed in: who rings", "101")
        await self.dial("103", "*13801")
        await ring("101 and 103 signed in: who rings", "101 103")
        await self.dial("101", "*14801")
        await ring("101 signed out: who rings", "103")
        await self.dial("103", "*14801")
        await self.center.until_agreed()
