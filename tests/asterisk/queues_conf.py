"""Files in the form of queues.conf, which Asterisk and `queuegate import` must read alike."""

# The file before each case. A queue `before` that stays shows that Asterisk refused the new file.
BEFORE = {"queues.conf": "[general]\n[before]\nmember => PJSIP/100\n"}

# Files of which each includes the next.
DEEP = {f"deep-{level}.conf": f"#include deep-{level + 1}.conf\n" for level in range(2, 12)}
DEEP["deep-12.conf"] = "[802]\nmember => PJSIP/102\n"

# The files of each case, by its name. Relative names of included files are in the folder of queues.conf.
CASES = {
    "plain": {"queues.conf": "[801]\nmember => PJSIP/101\nMember=SIP/102,1,Bo\nmember=>Local/103@from-queue/n,0\n"},
    "a byte-order mark": {"queues.conf": "\ufeff[801]\nmember => PJSIP/101\n"},
    "DOS line ends": {"queues.conf": "[801]\r\nmember => PJSIP/101\r\n"},
    "line comments and escapes": {
        "queues.conf": "[801] ; sales\nmember => PJSIP/101 ; Anna\n;member => PJSIP/102\nmember => PJSIP/1\\;03,1\n"
        "member => PJSIP/104\\;x;y\n"
    },
    "nested comments": {
        "queues.conf": "[801]\n;-- gone\n;-- since last year --;\nmember => PJSIP/102\n--;\nmember => PJSIP/101\n"
        "member => PJSIP/10;-- a ;-- b --; c --;3\n;--- a line\nmember => PJSIP/104\n;-- here --; member => PJSIP/105\n"
        ";-- escaped \\;-- once --;\nmember => PJSIP/106\n"
    },
    "an end without a comment": {"queues.conf": "[801]\nmember => PJSIP/101\nmember => PJSIP/102 --; x\nmember => PJSIP/103\n;-- \nmember => PJSIP/104\n"},
    "a comment without an end": {"queues.conf": "[801]\nmember => PJSIP/101\n;-- from here\nmember => PJSIP/102\n[802]\nmember => PJSIP/103\n"},
    "templates": {
        "queues.conf": "[agents](!)\nmember => PJSIP/101\n[more](!,agents)\nmember => PJSIP/102\n[801](agents)\nmember => PJSIP/103\n"
        "[802](MORE,801)\nmember => PJSIP/104\n[803] (agents)\nmember => PJSIP/105\n"
    },
    "sections with additions": {
        "queues.conf": "[801]\nmember => PJSIP/101\n[t](!)\nmember => PJSIP/109\n[802]\nmember => PJSIP/102\n[801](+)\nmember => PJSIP/103\n[802](+,t)\nmember => PJSIP/104\n"
    },
    "a section twice": {"queues.conf": "[801]\nmember => PJSIP/101\n[802]\nmember => PJSIP/102\n[801]\nmember => PJSIP/103\n"},
    "a section twice, then an addition": {"queues.conf": "[801]\nmember => PJSIP/101\n[801]\nmember => PJSIP/103\n[801](+)\nmember => PJSIP/104\n"},
    "names in other cases": {"queues.conf": "[Sales]\nmember => PJSIP/101\n[sALES]\nmember => PJSIP/102\n[GENERAL]\nmember => PJSIP/103\n[ front desk ]\nmember => PJSIP/104\n"},
    "old channels": {"queues.conf": "[801]\nmember => SIP/101\nmember => IAX2/102\nmember => Agent/103\nmember => Zap/4\nmember => DAHDI/5-1\nmember => SCCP/106\n"},
    "quotes and brackets": {"queues.conf": '[801]\nmember => "PJSIP/101",1\nmember => PJSIP/1\\\\02,1\nmember => PJSIP/(103,104),1\nmember => PJSIP/105,1,"Bo, desk"\n'},
    "penalties": {
        "queues.conf": "[801]\nmember => PJSIP/101, 7 \nmember => PJSIP/102,x\nmember => PJSIP/103,-1\nmember => PJSIP/104,5x\nmember => PJSIP/105,\"8\",Bo\n"
    },
    "no member's name": {"queues.conf": "[801]\nmember =>\nmember => ,1\nmember\n= PJSIP/102\nmember => PJSIP/101\n"},
    "additions to a value": {"queues.conf": "[801]\nmember => PJSIP/10\nmember += 3,1\nmember += PJSIP/104\n\\member => PJSIP/105\n"},
    "the first addition": {"queues.conf": "[801]\nmember += PJSIP/104\nmember+=5\n"},
    "unknown directives": {"queues.conf": "[801]\n#musicclass=default\n# a comment?\n#include\n#exec /bin/true\nmember => PJSIP/101\n"},
    "include": {
        "queues.conf": "[801]\nmember => PJSIP/101\n#include one.conf\nmember => PJSIP/102\n#include \"folder/two.conf\"\n#INCLUDE <one more.conf>\n",
        "one.conf": "member => PJSIP/103\n[802]\nmember => PJSIP/104\n",
        "folder/two.conf": "member => PJSIP/105\n#include one.conf\n",
        "one more.conf": "[803]\nmember => PJSIP/106\n",
    },
    "include with wildcards": {
        "queues.conf": "[801]\nmember => PJSIP/101\n#include queues.d/*.conf\n#tryinclude queues.d/[ab]?.txt\n#tryinclude {x,y}.txt\n",
        "queues.d/b.conf": "[803]\nmember => PJSIP/103\n",
        "queues.d/a.conf": "[802]\nmember => PJSIP/102\n",
        "queues.d/c.conf": "member => PJSIP/107\n",
        "queues.d/.hidden.conf": "[804]\nmember => PJSIP/104\n",
        "queues.d/a1.txt": "[805]\nmember => PJSIP/105\n",
        "queues.d/c1.txt": "[806]\nmember => PJSIP/106\n",
        "y.txt": "[807]\nmember => PJSIP/107\n",
    },
    "wildcards after a template": {
        "queues.conf": "#include t.d/*\n[801](t)\nmember => PJSIP/101\n",
        "t.d/10": ";-- open\n[no]\nmember => PJSIP/108\n",
        "t.d/20": "still --;\n[t](!)\nmember => PJSIP/109\n",
    },
    "a missing file": {"queues.conf": "[801]\nmember => PJSIP/101\n#include missing.conf\n"},
    "a missing file, tried": {"queues.conf": "[801]\nmember => PJSIP/101\n#tryinclude missing.conf\nmember => PJSIP/102\n"},
    "wildcards without a file": {"queues.conf": "[801]\nmember => PJSIP/101\n#include missing/*.conf\n"},
    "a folder": {"queues.conf": "[801]\nmember => PJSIP/101\n#include folder\n", "folder/x": ""},
    "a missing file in an included one": {
        "queues.conf": "[801]\nmember => PJSIP/101\n#include one.conf\nmember => PJSIP/102\n",
        "one.conf": "member => PJSIP/103\n#include missing.conf\nmember => PJSIP/104\n",
    },
    "a fault in the second of several": {
        "queues.conf": "#include t.d/*\n[801]\nmember => PJSIP/101\n",
        "t.d/10": "[802]\nmember => PJSIP/102\n",
        "t.d/20": "[803](missing)\nmember => PJSIP/103\n",
        "t.d/30": "[804]\nmember => PJSIP/104\n",
    },
    "a cycle": {
        "queues.conf": "[801]\nmember => PJSIP/101\n#include one.conf\n",
        "one.conf": "[802]\nmember => PJSIP/102\n#include queues.conf\n",
    },
    "a cycle by wildcards": {"queues.conf": "[801]\nmember => PJSIP/101\n#include *.conf.x\n", "a.conf.x": "member => PJSIP/102\n#include a.*.x\n"},
    "ten levels": {"queues.conf": "#include deep-3.conf\n[801]\nmember => PJSIP/101\n", **DEEP},
    "eleven levels": {"queues.conf": "#include deep-2.conf\n[801]\nmember => PJSIP/101\n", **DEEP},
    "empty options": {"queues.conf": "[801]()\nmember => PJSIP/101\n"},
    "an unknown template": {"queues.conf": "[801]\nmember => PJSIP/101\n[802](missing)\n"},
    "a blank before a template": {"queues.conf": "[t](!)\n[801](t, t)\nmember => PJSIP/101\n"},
    "an addition to nothing": {"queues.conf": "[801](+)\nmember => PJSIP/101\n"},
    "an addition to a template": {"queues.conf": "[t](!)\n[t](+)\nmember => PJSIP/101\n[801](t)\n"},
    "an open section": {"queues.conf": "[801\nmember => PJSIP/101\n"},
    "open options": {"queues.conf": "[801](!\nmember => PJSIP/101\n"},
    "a member in no section": {"queues.conf": "member => PJSIP/101\n[801]\n"},
    "a long line": {"queues.conf": f"[801]\nmember => PJSIP/101,{' ' * 8200}1\nmember => PJSIP/102,{' ' * 8000}1\n"},
    "Latin-1": {"queues.conf": b"; M\xfcller\n[801]\nmember => PJSIP/101,1,M\xfcller\n"},
}
