-- What this user may do to the table, its schema, its ledger and this database.
SELECT has_table_privilege(%(table)s, 'SELECT') AND has_table_privilege(%(table)s, 'INSERT')
           AND has_table_privilege(%(table)s, 'UPDATE'),
       has_table_privilege(%(table)s, 'DELETE'),
       has_database_privilege(current_database(), 'TEMPORARY'),
       CASE WHEN to_regclass(%(ledger)s) IS NULL THEN has_schema_privilege(%(schema)s, 'CREATE')
            ELSE has_table_privilege(%(ledger)s, 'SELECT') AND has_table_privilege(%(ledger)s, 'INSERT') END
