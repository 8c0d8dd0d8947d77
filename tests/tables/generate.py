#!/usr/bin/env python3
"""Writes the decision tables beside this file.

It implements the rules of the specification a second time, in another language and without code of the program, so that
only a mistake in both goes unnoticed. The tables are committed: a changed rule shows as changed lines.

    python3 tests/tables/generate.py
"""

import itertools
import pathlib

KINDS = ["CALL_QUEUE", "INBOX", "CAMPAIGN", "RING_GROUP"]
REACH = {"FEATURE_CODE": {"CALL_QUEUE"}, "AGENT_DASHBOARD": {"CALL_QUEUE", "INBOX", "CAMPAIGN"}}

ACCESS = {
    "user": ["unknown", "disabled", "enabled"],
    # The role, and its place: for the organization, or on a queue other than the requested one.
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

# The permissions: roles that have it regardless of settings, and roles that have it by a setting (or one that includes
# it).
PERMISSIONS = {
    "MANAGE_PERMISSIONS": ("", {"CONTACT_ADMIN"}, {}),
    "ASSIGN_LICENSES": ("", {"CONTACT_ADMIN"}, {}),
    "ASSIGN_ROLES": ("", {"CONTACT_ADMIN"}, {}),
    "CONFIGURE_QUEUES": ("", {"CONTACT_ADMIN"}, {}),
    "VIEW_ANALYTICS": ("", {"CONTACT_ADMIN", "SUPERVISOR"}, {}),
    "ACCESS_CONFIGURATION_PORTAL": ("", {"CONTACT_ADMIN"}, {"SUPERVISOR": ["access_configuration_portal"]}),
    "VIEW_QUEUE_SETTINGS": ("Q", {"CONTACT_ADMIN", "SUPERVISOR"}, {}),
    "MANAGE_QUEUE_SETTINGS": ("Q", {"CONTACT_ADMIN"}, {"SUPERVISOR": ["manage_queue_settings"]}),
    "VIEW_PAUSE_REASONS": ("", {"CONTACT_ADMIN"}, {"SUPERVISOR": ["view_pause_reasons", "manage_pause_reasons"]}),
    "MANAGE_PAUSE_REASONS": ("", {"CONTACT_ADMIN"}, {"SUPERVISOR": ["manage_pause_reasons"]}),
    "VIEW_SKILLS": ("", {"CONTACT_ADMIN"}, {"SUPERVISOR": ["view_skills", "manage_skills"]}),
    "MANAGE_SKILLS": ("", {"CONTACT_ADMIN"}, {"SUPERVISOR": ["manage_skills"]}),
    "MONITOR_QUEUE": ("Q", {"CONTACT_ADMIN", "SUPERVISOR"}, {}),
    "SIGN_IN_AGENTS": ("Q", {"CONTACT_ADMIN", "SUPERVISOR"}, {}),
    "VIEW_REPORTS": ("Q", {"SUPERVISOR"}, {}),
    "LISTEN_CALLS": ("Q", {"SUPERVISOR"}, {}),
    "WHISPER_CALLS": ("Q", {"SUPERVISOR"}, {}),
    "BARGE_CALLS": ("Q", {"SUPERVISOR"}, {}),
    "USE_AGENT_DASHBOARD": ("", {"AGENT"}, {}),
    "ACCEPT_DIRECT_CALLS": ("", {"AGENT"}, {}),
    "PLACE_OUTBOUND_CALLS": ("", {"AGENT"}, {}),
    "SERVE_QUEUE": ("Q", {"AGENT"}, {}),
    "MANAGE_PRERECORDED_MESSAGES": ("", set(), {"AGENT": ["manage_prerecorded_messages"]}),
    "MANAGE_PUBLIC_CANNED_MESSAGES": ("", set(), {"AGENT": ["manage_public_canned_messages"]}),
    "CREATE_CUSTOM_TAGS": ("", set(), {"AGENT": ["create_custom_tags"]}),
}

# Any of the three roles, each for the organization.
ROLES = ["+".join(held) or "none" for n in range(4) for held in itertools.combinations(["CONTACT_ADMIN", "SUPERVISOR", "AGENT"], n)]

# The user's relation to the requested queue: none, an assignment on it (which confers the role), an assignment on
# another queue (which also confers the role), a live session, an expired session.
RELATIONS = ["none", "AGENT_of", "SUPERVISOR_of", "SUPERVISOR_elsewhere", "AGENT_elsewhere", "signed_in", "expired", "unknown_queue"]


def permission_rows(scope, relations):
    everything = {switch for _, _, by_setting in PERMISSIONS.values() for names in by_setting.values() for switch in names}
    for permission in (name for name, (of, _, _) in PERMISSIONS.items() if of == scope):
        switches = sorted({switch for names in PERMISSIONS[permission][2].values() for switch in names})
        # Every combination of the settings that govern the permission, with all others off and all others on.
        states = [set(on) for n in range(len(switches) + 1) for on in itertools.combinations(switches, n)]
        users = [("unknown", "none", everything, "on", "off"), ("disabled", ROLES[-1], everything, "on", "off")]
        users += [("enabled", *rest) for rest in itertools.product(ROLES, states, ["off", "on"], ["off", "on"])]
        for user, roles, on, others, limit in users:
            named = "+".join(switch for switch in switches if switch in on) or "-"
            answers = [permission_rule(permission, user, roles, on, limit, relation) for relation in relations]
            yield [permission, user, roles, named, others, limit, *answers]


def permission_rule(permission, user, roles, on, limit, relation):
    scope, always, by_setting = PERMISSIONS[permission]
    if user == "unknown":
        return "UNKNOWN_USER"
    if user == "disabled":
        return "USER_DISABLED"
    if relation == "unknown_queue":
        return "UNKNOWN_QUEUE"
    held = set(roles.split("+")) | {relation.split("_")[0]}
    reach = {
        "CONTACT_ADMIN": True,
        "SUPERVISOR": relation == "SUPERVISOR_of" or limit == "off",
        "AGENT": relation in ("AGENT_of", "signed_in"),
    }
    misses = set()
    for role in ["CONTACT_ADMIN", "SUPERVISOR", "AGENT"]:
        if role not in held or (role not in always and role not in by_setting):
            continue
        is_on = role in always or on.intersection(by_setting[role])
        if is_on and (scope != "Q" or reach[role]):
            return "by_" + role
        misses.add("QUEUE_NOT_ASSIGNED" if is_on else "SETTING_DISABLED")
    return next((miss for miss in ["QUEUE_NOT_ASSIGNED", "SETTING_DISABLED"] if miss in misses), "ROLE_REQUIRED")


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


def write(name, heading, rows):
    widths = [max(len(row[i]) for row in [heading, *rows]) for i in range(len(heading))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [heading, *rows]]
    pathlib.Path(__file__).with_name(name).write_text("\n".join(lines) + "\n")


def write_product(name, columns, rule):
    rows = [[*values, rule(*values)] for values in itertools.product(*columns.values())]
    write(name, [*columns, "reason"], rows)


write_product("queue_access.txt", ACCESS, access)
write_product("supervisor.txt", SUPERVISOR, supervisor)
# One column for each relation, with the role that grants the permission or the reason for the denial.
PERMISSION_COLUMNS = ["permission", "user", "roles", "settings_on", "other_settings", "limit_to_assigned_queues"]
write("permission_on_queue.txt", [*PERMISSION_COLUMNS, *RELATIONS], list(permission_rows("Q", RELATIONS)))
# A check of a permission that isn't on a queue names no queue; an assignment on any queue still confers its role.
CONFERRED = ["none", "AGENT_elsewhere", "SUPERVISOR_elsewhere"]
write("permission.txt", [*PERMISSION_COLUMNS, *CONFERRED], list(permission_rows("", CONFERRED)))
