"""The demo's catch-all mail server: accepts every mail, delivers none, shows them on a page.

The tests use the same server in process and set its faults.
"""
