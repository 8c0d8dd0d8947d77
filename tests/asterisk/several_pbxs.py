"""Two Asterisks with one queuegate, and two handlers at one of them."""

import contextlib

from center import PASSWORD, Asterisk, Program, free_port
from phone import Line, Phone


def without(arguments, *flags):
    """The arguments without some flags and their values."""
    kept = list(arguments)
    for flag in flags:
        at = kept.index(flag)
        del kept[at : at + 2]
    return kept


async def several_pbxs(cases):
    center, berlin = cases.center, cases.center.asterisk
    arguments = list(center.agi.arguments)
    munich = Asterisk(free_port())
    own = without(arguments, "--listen", "--journal", "--ami")

    def handler(name, port, pbx, home, manager_port):
        more = ["--listen", f"127.0.0.1:{port}", "--journal", str(center.folder / f"{name}.journal")]
        more += ["--pbx", pbx, "--pbx-home", home, "--ami", f"127.0.0.1:{manager_port}"]
        return Program(name, center.folder, [*own, *more])

    center.agi.kill()
    center.agi.arguments = handler("agi", center.agi_port, "berlin", "101,102", berlin.manager_port).arguments
    second = handler("second", free_port(), "berlin", "101,102", berlin.manager_port)
    of_munich = handler("munich", munich.agi_port, "munich", "103", munich.manager_port)
    try:
        await munich.start()
        await center.start_agi()
        for program in [second, of_munich]:
            await program.start("reconciling members")
        line = await Line.open(("127.0.0.1", munich.sip_port))
        phones = {name: Phone(line, name, PASSWORD) for name in ["101", "102", "103"]}
        for phone in phones.values():
            await phone.register()
        await try_cases(cases, munich, phones, second)
    finally:
        for program in [second, of_munich]:
            program.kill()
        munich.stop()
        center.agi.kill()
        center.agi.arguments = arguments
        await center.start_agi()
        await center.until_agreed()


async def try_cases(cases, munich, phones, second):
    center, berlin = cases.center, cases.center.asterisk
    anna, bo, cleo = (("801", f"PJSIP/{number}") for number in ("101", "102", "103"))

    async def dial(user, number):
        """The reason of a call at the second PBX."""
        start = len(munich.manager.events)
        await phones[user].dial(number).until_ended(60)
        is_reason = lambda event: event["Event"] == "VarSet" and event["Variable"] == "QUEUEGATE_REASON"
        return (await munich.manager.until(start, is_reason))["Value"]

    async def rings(case, at_berlin, at_munich):
        read = lambda pbx: pbx.members(dynamic_only=True)

        async def fits():
            return await read(berlin) == at_berlin and await read(munich) == at_munich

        with contextlib.suppress(AssertionError):
            await center.until(case, fits)
        cases.row(case, (sorted(await read(berlin)), sorted(await read(munich))), (sorted(at_berlin), sorted(at_munich)))

    async def lamp(pbx, user):
        answer = await pbx.manager.ask(Action="ExtensionState", Context="phones", Exten=f"*19{user}*801")
        return answer[0].get("Status") == "1"

    seen = await cases.dial("101", "*13801")
    cases.row("101 signs in at Berlin", seen.get("QUEUEGATE_REASON"), "ASSIGNED")
    cases.row("102 signs in at Munich", await dial("102", "*13801"), "UNASSIGNED_ALLOWED")
    center.ask("supervisor-sign-in", "sam", "cleo", "sales")
    await rings("a supervisor's sign-in rings at home, Munich", {anna}, {bo, cleo})
    lit = [await lamp(pbx, user) for pbx in (berlin, munich) for user in ("101", "102", "103")]
    cases.row("the lamps of all sessions at both", lit, [True] * 6)
    cases.row("101 signs in at Munich too", await dial("101", "*13801"), "RINGS_ELSEWHERE")
    await rings("and stays Berlin's member alone", {anna}, {bo, cleo})
    await munich.cli("queue add member PJSIP/101 to 801")
    await rings("a member of Berlin's session that is added at Munich goes", {anna}, {bo, cleo})
    await munich.restart()
    for phone in phones.values():
        await phone.register()
    await rings("Munich restarted", {anna}, {bo, cleo})
    center.agi.kill()
    await berlin.cli("queue remove member PJSIP/101 from 801")
    await rings("Berlin's first handler killed: the second one reconciles", {anna}, {bo, cleo})
    await center.start_agi()
    second.kill()
    cases.row("101 signs out at Munich", await dial("101", "*14801"), "SIGNED_OUT")
    await rings("and leaves Berlin's queue, with one handler again", set(), {bo, cleo})
    cases.row("then 101 signs in at Munich", await dial("101", "*13801"), "ASSIGNED")
    await rings("and rings there", set(), {anna, bo, cleo})
    for user in ["anna", "bo", "cleo"]:
        center.ask("sign-out", user, "sales")
    await rings("all signed out", set(), set())
