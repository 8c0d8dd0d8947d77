"""The shape of FreePBX 17's dialplan around queues, written anew, and the cases of *45 in it.

FREEPBX_QUEUES=FILE takes the contexts of the queues module from a generated extensions_additional.conf instead; they need
queues 801, 802 and 850, and the phones 101 to 104."""

import contextlib
import os
import pathlib

from center import FRAGMENTS

# FreePBX's other modules: the entry of the phones, the phones themselves, and helpers of every module.
CORE = """
[from-internal]
include => from-internal-xfer
[from-internal-xfer]
include => from-internal-custom
include => from-internal-additional
[ext-local]
exten => _10X,1,Dial(PJSIP/${EXTEN},20)
""" + "".join(f"exten => {phone},hint,PJSIP/{phone}\n" for phone in range(101, 105)) + """
[macro-user-callerid]
exten => s,1,Set(AMPUSER=${CHANNEL(endpoint)})
 same => n,Return()
[macro-hangupcall]
exten => s,1,Hangup()
[macro-blkvm-set]
exten => s,1,Return()
[macro-blkvm-clr]
exten => s,1,Return()
[macro-prepend-cid]
exten => s,1,Return()
[sub-record-check]
exten => s,1,Return()
[sub-record-cancel]
exten => s,1,Return()
[from-internal-additional]
include => ext-local
"""

QUEUES = """
[from-internal-additional]
include => ext-queues
include => app-queue-toggle
[from-queue]
exten => _X.,1,Set(QAGENT=${EXTEN})
 same => n,Goto(${NODEST},1)
""" + "".join(f"exten => {queue},1,Goto(from-internal,${{QAGENT}},1)\n" for queue in ("801", "802", "850")) + """
[ext-queues]
exten => _8XX,1,Answer()
 same => n,Set(__NODEST=${EXTEN})
 same => n,Queue(${EXTEN},t)
exten => _*458XX,1,Set(QUEUENO=${EXTEN:3})
 same => n,Goto(app-queue-toggle,s,start)
exten => _*45XXX*XXX,1,Set(QUEUENO=${EXTEN:7:3})
 same => n,Set(QUEUEUSER=${EXTEN:3:3})
 same => n,Goto(app-queue-toggle,s,start)
exten => _*45XXX*XXX,hint,Custom:QUEUE${EXTEN:3}
exten => *45,1,Playback(pbx-invalid)
exten => _*45*X.,1,Playback(pbx-invalid)
exten => _*45*X.,hint,${DB(AMPUSER/${EXTEN:4}/queuehint)}
exten => _*468XX,1,Gosub(app-queue-pause-toggle,s,1(${EXTEN:3}))
exten => _*46*XXX*XXX,hint,Queue:${EXTEN:8:3}_pause_Local/${DB(DEVICE/${EXTEN:4:3}/user)}@from-queue/n
exten => _*47*XXX,1,Set(QUEUE=${EXTEN:4})
 same => n,Goto(app-queue-caller-count,s,1)
[app-queue-toggle]
exten => s,1(start),Answer()
 same => n,Gosub(macro-user-callerid,s,1())
 same => n,Set(QUEUEUSER=${IF($[${LEN(${QUEUEUSER})}>0]?${QUEUEUSER}:${AMPUSER})})
 same => n,AGI(queue_devstate.agi,getqueues,${QUEUEUSER})
 same => n,GotoIf($["${QUEUESTAT}" = "LOGGEDIN"]?out)
 same => n,GotoIf($["${DB(QPENALTY/${QUEUENO}/dynmemberonly)}" = "yes" & ${DB_EXISTS(QPENALTY/${QUEUENO}/agents/${QUEUEUSER})} != 1]?refused)
 same => n,AddQueueMember(${QUEUENO},Local/${QUEUEUSER}@from-queue/n,${DB(QPENALTY/${QUEUENO}/agents/${QUEUEUSER})},,"${DB(AMPUSER/${QUEUEUSER}/cidname)}",hint:${QUEUEUSER}@ext-local)
 same => n,Set(DEVICE_STATE(Custom:QUEUE${QUEUEUSER}*${QUEUENO})=INUSE)
 same => n,Playback(agent-loginok)
 same => n,Hangup()
 same => n(refused),Playback(pbx-invalid)
 same => n,Hangup()
 same => n(out),RemoveQueueMember(${QUEUENO},Local/${QUEUEUSER}@from-queue/n)
 same => n,Set(DEVICE_STATE(Custom:QUEUE${QUEUEUSER}*${QUEUENO})=NOT_INUSE)
 same => n,Playback(agent-loggedoff)
 same => n,Hangup()
[app-queue-pause-toggle]
exten => s,1,Answer()
 same => n,Set(MEMBR=Local/${CHANNEL(endpoint)}@from-queue/n)
 same => n,Set(QUEUE_MEMBER(${ARG1},paused,${MEMBR})=${IF($[${QUEUE_MEMBER(${ARG1},paused,${MEMBR})}]?0:1)})
 same => n,Playback(activated)
 same => n,Hangup()
[app-queue-caller-count]
exten => s,1,AGI(queue_devstate.agi,getuserQueues,${CHANNEL(endpoint)},${QUEUE})
 same => n,Answer()
 same => n,SayNumber(${QUEUE_WAITING_COUNT(${QUEUES})})
 same => n,Hangup()
"""

# FreePBX's script, as far as the dialplan above needs it: whether a phone is a member of a queue.
SCRIPT = r"""#!/bin/sh
while read -r line && [ -n "$line" ]; do :; done
ask() { echo "GET FULL VARIABLE $1"; read -r line; line=${line#*\(}; line=${line%)*}; }
queue=$3
[ "$1" = getuserQueues ] || { ask '${QUEUENO}'; queue=$line; }
ask "\${QUEUE_MEMBER_LIST($queue)}"
case "$1 ,$line," in
"getqueues "*",Local/$2@from-queue/n,"*) echo "SET VARIABLE QUEUESTAT LOGGEDIN" ;;
"getqueues "*) echo "SET VARIABLE QUEUESTAT LOGGEDOUT" ;;
*",Local/$2@from-queue/n,"*) echo "SET VARIABLE QUEUES $queue" ;;
*) echo "SET VARIABLE QUEUES 0" ;;
esac
read -r line
"""

FLAGS = [
    "--interface", "Local/{extension}@from-queue/n", "--state-interface", "hint:{extension}@ext-local",
    "--lamp", "Custom:QUEUE{extension}*{queue}",
]  # fmt: skip

# Past queuegate's fragment, into FreePBX's own code.
PAST = "[from-internal-custom]\nexten => _*99.,1,Goto(ext-queues,*45${EXTEN:3},1)\n"


async def freepbx(cases):
    center, pbx = cases.center, cases.center.asterisk
    etc = pbx.folder / "etc"
    saved = {name: (etc / name).read_text() for name in ("extensions.conf", "queues.conf", "pjsip.conf")}
    module = os.environ.get("FREEPBX_QUEUES")
    queues = pathlib.Path(module).read_text() if module else QUEUES
    fragments = [(FRAGMENTS / name).read_text() for name in ("extensions.conf", "freepbx.conf")]
    script = pbx.folder / "agi/queue_devstate.agi"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    changed = {
        "extensions.conf": pbx.with_port("\n".join([CORE, queues, *fragments, PAST])),
        "queues.conf": saved["queues.conf"] + "\n[850](queuegate)\n",
        "pjsip.conf": saved["pjsip.conf"].replace("context=phones", "context=from-internal"),
    }
    arguments = list(center.agi.arguments)
    at = arguments.index("--lamp")
    await load(cases, changed, [*arguments[:at], *FLAGS, *arguments[at + 2 :]])
    try:
        await freepbx_cases(cases)
    finally:
        await load(cases, saved, arguments)


async def load(cases, files, arguments):
    center, pbx = cases.center, cases.center.asterisk
    center.agi.kill()
    for name, text in files.items():
        (pbx.folder / "etc" / name).write_text(text)
    for line in ["dialplan reload", "queue reload all", "module reload res_pjsip.so"]:
        await pbx.cli(line)
    await cases.register()
    center.agi.arguments = arguments
    await center.start_agi()


async def freepbx_cases(cases):
    center, pbx = cases.center, cases.center.asterisk

    async def member(queue):
        messages = await pbx.manager.ask(Action="QueueStatus", Queue=queue)
        found = [message for message in messages if message.get("Event") == "QueueMember"]
        told = lambda one: " ".join([one["Location"], one["StateInterface"], one["Name"], one["Penalty"], one["Paused"]])
        return " | ".join(told(one) for one in found) or "-"

    async def lamp(key):
        answer = await pbx.manager.ask(Action="ExtensionState", Context="from-internal", Exten=key)
        return {"0": "off", "1": "lit"}.get(answer[0].get("Status"), answer[0].get("Status"))

    async def becomes(case, read, argument, expected):
        async def fits():
            return await read(argument) == expected

        with contextlib.suppress(AssertionError):
            await center.until(expected, fits)
        cases.row(case, await read(argument), expected)

    def anna(paused=0):
        return f"Local/101@from-queue/n hint:101@ext-local Anna Berg 3 {paused}"

    for entry in ["DEVICE 101/user 101", "AMPUSER 103/cidname Cleo", "AMPUSER 103/device 103"]:
        await pbx.cli(f"database put {entry}")
    center.ask("assign", "anna", "sales", "--role", "agent", "--penalty", "3")
    seen = await cases.dial("101", "*45801")
    cases.row("*45801 signs in by queuegate", seen, "allowed ASSIGNED | agent-loginok")
    await becomes("the member, as FreePBX adds it", member, "801", anna())
    await becomes("the lamp of the key *45101*801", lamp, "*45101*801", "lit")

    async def until_it_rings(call):
        with contextlib.suppress(AssertionError):
            await center.until("a phone rings", lambda: any(phone.rings for phone in cases.phones.values()))
        await call.hang_up()

    for phone in cases.phones.values():
        phone.rings = 0
    await cases.dial("102", "801", act=until_it_rings)
    rang = [name for name, phone in cases.phones.items() if phone.rings]
    cases.row("a call to the queue rings", rang, ["101"])
    await cases.dial("101", "*46801")
    await becomes("FreePBX's *46801 pauses the member", member, "801", anna(1))
    await becomes("and lights the key *46*101*801", lamp, "*46*101*801", "lit")
    await cases.dial("101", "*46801")
    await becomes("*46801 again", member, "801", anna())
    seen = await cases.dial("101", "*47*801")
    cases.row("FreePBX's *47*801 knows the member", seen.get("QUEUES"), "801")
    seen = await cases.dial("101", "*45801")
    cases.row("*45801 again signs out", seen, "allowed SIGNED_OUT | agent-loggedoff")
    await becomes("no member", member, "801", "-")
    await becomes("the lamp", lamp, "*45101*801", "off")
    seen = await cases.dial("101", "*45101*801")
    cases.row("the key of the own phone", seen, "allowed ASSIGNED | agent-loginok")
    seen = await cases.dial("102", "*45101*801")
    cases.row("the key of another phone", seen, "- - | feature-not-avail-line")
    seen = await cases.dial("101", "*45")
    cases.row("*45: out of all queues", seen, "allowed ALL_QUEUES | agent-loggedoff")
    seen = await cases.dial("101", "*45*101")
    cases.row("*45*101: in to all assigned queues", seen.get("QUEUEGATE_QUEUES"), "sales=ASSIGNED")
    await cases.dial("101", "*45")
    await becomes("and out", member, "801", "-")
    center.ask("supervisor-sign-in", "sam", "cleo", "sales")
    await becomes("a supervisor signs 103 in: the lamp", lamp, "*45103*801", "lit")
    center.ask("supervisor-sign-out", "sam", "cleo", "sales")
    await becomes("and out", lamp, "*45103*801", "off")

    # A queue that stays FreePBX's.
    seen = await cases.dial("103", "*45850")
    cases.row("another queue: FreePBX's own *45850", f"{seen.get('QUEUEGATE_STATUS')}{len(seen.conversations)}", "0")
    own = "Local/103@from-queue/n hint:103@ext-local Cleo 0 0"
    await becomes("its member", member, "850", own)
    await becomes("its lamp", lamp, "*45103*850", "lit")
    # A complete comparison.
    center.agi.kill()
    await center.start_agi()
    center.ask("supervisor-sign-in", "sam", "cleo", "sales")
    await becomes("a new handler compares", lamp, "*45103*801", "lit")
    center.ask("supervisor-sign-out", "sam", "cleo", "sales")
    await becomes("and leaves FreePBX's member", member, "850", own)
    await cases.dial("103", "*45103*850")
    await becomes("its key logs out", member, "850", "-")

    # FreePBX's own way in to a queue of queuegate.
    await pbx.cli("database put QPENALTY/801 dynmemberonly yes")
    await cases.dial("103", "*99801")
    await becomes("`dynmemberonly` without agents refuses FreePBX's own code", member, "801", "-")
    await pbx.cli("database put QPENALTY/801 dynmemberonly no")
    start = len(pbx.manager.events)
    await cases.dial("103", "*99801")
    added = await pbx.manager.until(start, lambda event: event["Event"] == "QueueMemberAdded")
    cases.row("without it a member is added", added["Interface"], "Local/103@from-queue/n")
    await becomes("and reconciling removes it", member, "801", "-")
