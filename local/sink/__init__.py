"""Mail sink: the demo's catch-all mail server, which accepts every mail, delivers none and shows them on a page.

The tests use the same server in process and set its faults.
"""
