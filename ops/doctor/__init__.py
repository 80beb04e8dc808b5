"""Diagnosis of Redis, Postgres, the mail servers and the sender domains: faults and their remedies.

Modules at the rim gather facts (`redis_facts`, `postgres`, `smtp`, `dns`), and pure functions judge them
(`checks_redis`, `checks_mail`). A finding is a code with values; its texts are in one table (`texts`).
"""
