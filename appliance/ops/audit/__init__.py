"""The audit as compliance officers use it: events, alerts, reviews. Never a question, an answer or a passage.

It lives here because it names people and documents, and `audit` may import neither.
"""
