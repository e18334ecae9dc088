"""Names of the documents that the system was asked for in, each in a module of its own.

    from three_mode.compat.dive import LLMConnection, LLMRequest, CommunicationMode
    from three_mode.compat.mrc import LLMCommunication
    from three_mode.compat.openhands import LLM, LLMConfig
    from three_mode.compat.coda import LLMManager, LLMConfig, ProviderConfig, LLMProvider

Programs written against those documents run with another import line. The modules have the names and shapes of the
documents; what they do is done by `three_mode`. Nothing else imports them. docs/from-other-apis.md lists every name.
"""
