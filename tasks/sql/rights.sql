-- What this user may do to the table, its schema, its ledger and this database.
SELECT has_table_privilege({table}, 'SELECT') AND has_table_privilege({table}, 'INSERT')
           AND has_table_privilege({table}, 'UPDATE'),
       has_table_privilege({table}, 'DELETE'),
       has_database_privilege(current_database(), 'TEMPORARY'),
       CASE WHEN to_regclass({ledger}) IS NULL THEN has_schema_privilege({schema}, 'CREATE')
            ELSE has_table_privilege({ledger}, 'SELECT') AND has_table_privilege({ledger}, 'INSERT') END
