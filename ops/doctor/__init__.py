"""What is wrong, and what to do about it: Redis, Postgres, the mail servers and the sender domains.

Facts are gathered at the rim (`redis_facts`, `postgres`, `smtp`, `dns`), and judged by pure functions over them
(`judge_redis`, `judge_mail`). A finding is a code with values; its words are in one table (`words`).
"""
