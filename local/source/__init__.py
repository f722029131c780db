"""A server that answers in the format of blockchain.com's unconfirmed transactions, simulated or from a recording,
at any speed, and keeps a ledger of every transaction that it listed."""
