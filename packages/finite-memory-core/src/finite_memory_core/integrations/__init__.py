"""The memory inside the agent frameworks that people already use, one module each.

``pydantic_ai``, ``langchain``, ``openai_agents`` and ``llama_index`` each import their framework,
which is an extra of the same name (with a hyphen). ``history`` is what they share.
"""
