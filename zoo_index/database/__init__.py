"""The database: schema, transactions, rows in and out. Nothing outside this package talks SQL."""
