"""The bundled Python language host: what Pulumi's engine starts to run a Python program.

`service` answers the engine, `environments` finds and fills the program's virtual environment,
`running` starts and ends the program's process, and `program` is what that process executes.
"""
