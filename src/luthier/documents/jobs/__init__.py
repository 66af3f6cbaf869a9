"""Calls to a model that lose nothing: one unit a call, the raw answer in the database before anybody looks at it.

engine.py   units through a queue; pause, budget, failures       reply.py   what an answer says, in whichever field
client.py   one HTTP call                                        faults.py  what an error means: wait, give up, or stop all
limits.py   how many calls at once and a minute                  keys.py    the API key: environment or keyring, nowhere else
cost.py     what it will cost, before and after a pilot
"""
