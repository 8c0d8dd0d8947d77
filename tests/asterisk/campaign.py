"""Thousands of calls that hang up at random moments, and the latency of a call."""

import asyncio
import random
import statistics
import time

from center import CAMPAIGN_QUEUES, CAMPAIGN_USERS, PASSWORD
from phone import Phone

# The number of concurrent calls, and of calls between two checks.
AT_ONCE, WAVE = 40, 250


async def one_call(phone, number, random_):
    """Dials and hangs up: immediately, after a random time, or never. Returns the outcome."""
    call = phone.dial(number)
    patience = random_.choice([0, 0.02, 0.1, 0.3, 0.6, 0.7, 1.0, 2.0, None])
    try:
        if patience is None:
            await call.until_ended(150)
        else:
            await asyncio.wait({asyncio.create_task(call.ended.wait())}, timeout=patience)
            await call.hang_up()
        if not call.answered.is_set() and call.by == "phone":
            return "hung up before it was answered"
        return {"phone": "hung up by the caller", "pbx": "ended by the PBX"}[call.by] + f" ({call.status})"
    except (asyncio.TimeoutError, TimeoutError):
        return "lost"


async def campaign(center, line, number):
    phones = [Phone(line, user, PASSWORD) for user in CAMPAIGN_USERS]
    for phone in phones:
        await phone.register()
    random_ = random.Random(13)
    manager = center.asterisk.manager
    ends, told, most, kills, begun = {}, {}, 0, 0, time.monotonic()
    done = 0
    while done < number:
        wave = min(WAVE, number - done)
        places = asyncio.Semaphore(AT_ONCE)
        del manager.events[:]
        # These happen while calls are in flight.
        kill_at = random_.randrange(wave) if random_.random() < 0.5 else None
        stop_at = random_.randrange(wave) if random_.random() < 0.5 else None

        async def run(phone, dialed):
            async with places:
                end = await one_call(phone, dialed, random_)
                ends[end] = ends.get(end, 0) + 1

        calls = []
        for index in range(wave):
            code = random_.choice(["*13", "*13", "*13", "*14", "*14", "*15", "*15", "*16"])
            async with places:
                pass
            calls.append(asyncio.create_task(run(random_.choice(phones), code + random_.choice(CAMPAIGN_QUEUES))))
            if index == kill_at:
                center.agi.kill()
                await center.start_agi()
                kills += 1
            if index == stop_at:
                center.server.signal(19)
                asyncio.get_running_loop().call_later(random_.uniform(0.1, 3), center.server.signal, 18)
        await asyncio.gather(*calls)
        done += wave

        async def is_idle():
            return "0 active channels" in await center.asterisk.cli("core show channels count")

        await center.until("no calls are left", is_idle, 150)
        agreed = await center.until_agreed(40)
        most = max(most, len(agreed))
        reasons = {}
        for event in manager.events:
            if event["Event"] == "VarSet" and event["Variable"] in ("QUEUEGATE_STATUS", "QUEUEGATE_REASON"):
                reasons.setdefault(event["Uniqueid"], {})[event["Variable"]] = event["Value"]
        for answer in reasons.values():
            key = f"{answer.get('QUEUEGATE_STATUS', '')} {answer.get('QUEUEGATE_REASON', '')}".strip() or "nothing was told"
            told[key] = told.get(key, 0) + 1
        print(f"{done:6} dials, {len(agreed):3} members and sessions agree, nothing is pending, {time.monotonic() - begun:.0f} s", flush=True)
    for title, counts in [("how calls ended", ends), ("what Asterisk was told", told)]:
        print(title)
        for key, count in sorted(counts.items()):
            print(f"{count:7}  {key}")
    print(f"{done} dials in {time.monotonic() - begun:.0f} s; the handler was killed {kills} times; at most {most} were signed in at once")
    return most > 10


async def latency(center, line, number):
    """Measures the time around the AGI line of a check, and without AGI, by the dialplan's clock."""
    phone = Phone(line, "101", PASSWORD)
    await phone.register()
    manager = center.asterisk.manager

    async def measured(dialed):
        start = len(manager.events)
        call = phone.dial(dialed)
        await call.until_ended()
        names = {}
        for name in ["BEFORE", "AFTER"]:
            event = await manager.until(start, lambda event: event["Event"] == "VarSet" and event["Variable"] == name)
            names[name] = float(event["Value"])
        return (names["AFTER"] - names["BEFORE"]) * 1e6

    rows = {"without AGI": "*00", "check by AGI": "*17801"}
    times = {name: [] for name in rows}
    for index in range(number + 10):
        for name, dialed in rows.items():
            took = await measured(dialed)
            if index >= 10:
                times[name].append(took)
    for name, all_times in times.items():
        all_times.sort()
        at = lambda percent: all_times[(len(all_times) - 1) * percent // 100]
        print(f"{name:14} p50 {at(50):8.0f} µs  p90 {at(90):8.0f} µs  p99 {at(99):8.0f} µs")
    added = statistics.median(times["check by AGI"]) - statistics.median(times["without AGI"])
    print(f"a check by AGI takes {added:.0f} µs more of the dialplan's time, in the middle of {number}")
    return True
