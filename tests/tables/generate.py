#!/usr/bin/env python3
"""Writes the decision tables beside this file.

It is the rules of the specification told a second time, in another language and sharing nothing with the program, so that a
mistake has to be made twice to go unseen. The tables are committed: a changed rule shows as changed lines.

    python3 tests/tables/generate.py
"""

import itertools
import pathlib

KINDS = ["CALL_QUEUE", "INBOX", "CAMPAIGN", "RING_GROUP"]
REACH = {"FEATURE_CODE": {"CALL_QUEUE"}, "AGENT_DASHBOARD": {"CALL_QUEUE", "INBOX", "CAMPAIGN"}}

ACCESS = {
    "user": ["unknown", "disabled", "enabled"],
    # The role held, and where: for the organization, or through a queue other than the one asked about.
    "role": ["none", "AGENT", "AGENT_elsewhere", "SUPERVISOR", "CONTACT_ADMIN"],
    "assigned": ["no", "yes"],
    "queue": ["unknown", *KINDS],
    "channel": list(REACH),
    "session": ["none", "live", "live_until_later", "expired"],
    "setting": ["ALLOWED", "RESTRICTED"],
}

SUPERVISOR = {
    "supervisor": ["unknown", "disabled", "enabled"],
    "role": ["none", "AGENT", "SUPERVISOR", "SUPERVISOR_of_queue", "SUPERVISOR_elsewhere", "CONTACT_ADMIN"],
    "limit_to_assigned_queues": ["off", "on"],
    "user": ["unknown", "disabled", "enabled"],
    "queue": ["unknown", *KINDS],
    "session": ["none", "live", "expired"],
    "action": ["sign_in", "sign_out"],
}


def access(user, role, assigned, queue, channel, session, setting):
    if user == "unknown":
        return "UNKNOWN_USER"
    if user == "disabled":
        return "USER_DISABLED"
    if queue == "unknown":
        return "UNKNOWN_QUEUE"
    if queue not in REACH[channel]:
        return "QUEUE_KIND_NOT_SUPPORTED"
    if channel == "AGENT_DASHBOARD" and not (role.startswith("AGENT") or assigned == "yes"):
        return "AGENT_ROLE_REQUIRED"
    if session.startswith("live"):
        return "ALREADY_SIGNED_IN"
    if assigned == "yes":
        return "ASSIGNED"
    return "UNASSIGNED_" + setting


def supervisor(supervisor, role, limit_to_assigned_queues, user, queue, session, action):
    if supervisor == "unknown":
        return "UNKNOWN_SUPERVISOR"
    if supervisor == "disabled":
        return "SUPERVISOR_DISABLED"
    if user == "unknown":
        return "UNKNOWN_USER"
    if user == "disabled" and action == "sign_in":
        return "USER_DISABLED"
    if queue == "unknown":
        return "UNKNOWN_QUEUE"
    if queue == "RING_GROUP":
        return "QUEUE_KIND_NOT_SUPPORTED"
    if role in ("none", "AGENT"):
        return "SUPERVISOR_ROLE_REQUIRED"
    if role != "CONTACT_ADMIN" and role != "SUPERVISOR_of_queue" and limit_to_assigned_queues == "on":
        return "SUPERVISOR_QUEUE_NOT_ASSIGNED"
    if action == "sign_out":
        return "SUPERVISOR_SIGN_OUT"
    return "ALREADY_SIGNED_IN" if session == "live" else "SUPERVISOR_SIGN_IN"


def write(name, columns, rule):
    rows = [[*values, rule(*values)] for values in itertools.product(*columns.values())]
    heading = [*columns, "reason"]
    widths = [max(len(row[i]) for row in [heading, *rows]) for i in range(len(heading))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [heading, *rows]]
    pathlib.Path(__file__).with_name(name).write_text("\n".join(lines) + "\n")


write("queue_access.txt", ACCESS, access)
write("supervisor.txt", SUPERVISOR, supervisor)
