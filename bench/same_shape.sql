-- The rules as written for DuckDB by hand: the same filters, the same
-- aggregates, the same columns. $now is the time of the run, $memory how far back a caller counts as known.

-- rule: caller_new_to_tenant
WITH seen AS (
    SELECT OrganizationId, Caller, Protocol, min(EventTime) AS FirstSeen
    FROM (
        SELECT OrganizationId, Caller, Protocol, EventTime FROM "_MailItemsAccessed"
        WHERE lower(Operation) = 'mailitemsaccessed' AND EventTime > $now - $memory
        UNION ALL
        SELECT OrganizationId, Caller, Protocol, FirstSeen FROM "M365CallerBaseline_CL"
    )
    GROUP BY ALL
),
known AS (SELECT * FROM seen WHERE FirstSeen <= $now - INTERVAL 1 DAY),
history AS (SELECT OrganizationId, min(FirstSeen) AS HistoryStart FROM seen GROUP BY ALL),
approved AS (
    SELECT lower(Caller) AS Caller FROM "_Watchlists"
    WHERE _Alias = 'ApprovedMailCallers' AND Caller <> ''
        AND (coalesce(ValidFrom, '') = '' OR TRY_CAST(ValidFrom AS TIMESTAMP) <= $now)
        AND (coalesce(ValidTo, '') = '' OR TRY_CAST(ValidTo AS TIMESTAMP) > $now)
),
alerts AS (
    SELECT
        OrganizationId, Caller, Protocol,
        min(EventTime) AS FirstSeen,
        max(EventTime) AS LastSeen,
        count(*) AS Records,
        sum(OperationCount) AS OperationCount,
        count(DISTINCT MailboxId) AS MailboxCount,
        list(DISTINCT Mailbox) AS Mailboxes,
        list(DISTINCT UserId) AS Users,
        list(DISTINCT ClientAddress) AS Addresses,
        list(DISTINCT SessionId) AS Sessions,
        list(DISTINCT Caller) AS Callers,
        list(DISTINCT Protocol) AS Protocols,
        min(Mailbox) AS Mailbox,
        min(UserId) AS "User",
        min(ClientAddress) AS Address
    FROM "_MailItemsAccessed" AS event
    ANTI JOIN known USING (OrganizationId, Caller, Protocol)
    ANTI JOIN approved ON approved.Caller = event.Caller
    WHERE lower(Operation) = 'mailitemsaccessed' AND EventTime > $now - INTERVAL 1 DAY
    GROUP BY OrganizationId, Caller, Protocol
)
SELECT
    alerts.*,
    HistoryStart,
    epoch(FirstSeen - HistoryStart) / 86400 AS HistoryDays,
    if(FirstSeen - HistoryStart >= INTERVAL 7 DAY, 'new', 'insufficient baseline') AS Verdict
FROM alerts
JOIN history USING (OrganizationId);

-- rule: caller_new_to_mailbox
WITH seen AS (
    SELECT OrganizationId, Caller, Protocol, MailboxId, min(EventTime) AS FirstSeen
    FROM (
        SELECT OrganizationId, Caller, Protocol, MailboxId, EventTime FROM "_MailItemsAccessed"
        WHERE lower(Operation) = 'mailitemsaccessed' AND EventTime > $now - $memory
        UNION ALL
        SELECT OrganizationId, Caller, Protocol, MailboxId, FirstSeen
        FROM "M365CallerBaseline_CL" WHERE MailboxId <> ''
    )
    GROUP BY ALL
),
known AS (SELECT * FROM seen WHERE FirstSeen <= $now - INTERVAL 1 DAY),
history AS (SELECT OrganizationId, min(FirstSeen) AS HistoryStart FROM seen GROUP BY ALL),
spread AS (
    SELECT
        OrganizationId, Caller, Protocol,
        count(DISTINCT MailboxId) FILTER (FirstSeen <= $now - INTERVAL 1 DAY) AS MailboxesBefore
    FROM seen GROUP BY ALL
    HAVING MailboxesBefore BETWEEN 1 AND 5 AND count(DISTINCT MailboxId) <= 10
),
approved AS (
    SELECT lower(Caller) AS Caller FROM "_Watchlists"
    WHERE _Alias = 'ApprovedMailCallers' AND Caller <> ''
        AND (coalesce(ValidFrom, '') = '' OR TRY_CAST(ValidFrom AS TIMESTAMP) <= $now)
        AND (coalesce(ValidTo, '') = '' OR TRY_CAST(ValidTo AS TIMESTAMP) > $now)
),
alerts AS (
    SELECT
        OrganizationId, Caller, Protocol, MailboxId,
        min(EventTime) AS FirstSeen,
        max(EventTime) AS LastSeen,
        count(*) AS Records,
        sum(OperationCount) AS OperationCount,
        count(DISTINCT MailboxId) AS MailboxCount,
        list(DISTINCT Mailbox) AS Mailboxes,
        list(DISTINCT UserId) AS Users,
        list(DISTINCT ClientAddress) AS Addresses,
        list(DISTINCT SessionId) AS Sessions,
        list(DISTINCT Caller) AS Callers,
        list(DISTINCT Protocol) AS Protocols,
        min(Mailbox) AS Mailbox,
        min(UserId) AS "User",
        min(ClientAddress) AS Address
    FROM "_MailItemsAccessed" AS event
    ANTI JOIN known USING (OrganizationId, Caller, Protocol, MailboxId)
    ANTI JOIN approved ON approved.Caller = event.Caller
    WHERE lower(Operation) = 'mailitemsaccessed' AND EventTime > $now - INTERVAL 1 DAY
    GROUP BY OrganizationId, Caller, Protocol, MailboxId
)
SELECT
    alerts.*,
    MailboxesBefore,
    HistoryStart,
    epoch(FirstSeen - HistoryStart) / 86400 AS HistoryDays,
    if(FirstSeen - HistoryStart >= INTERVAL 7 DAY, 'new', 'insufficient baseline') AS Verdict
FROM alerts
JOIN spread USING (OrganizationId, Caller, Protocol)
JOIN history USING (OrganizationId);

-- rule: foreign_token_tenant
SELECT
    OrganizationId, TokenTenantId, Caller, Protocol,
    min(EventTime) AS FirstSeen,
    max(EventTime) AS LastSeen,
    count(*) AS Records,
    sum(OperationCount) AS OperationCount,
    count(DISTINCT MailboxId) AS MailboxCount,
    list(DISTINCT Caller) AS Callers,
    list(DISTINCT Protocol) AS Protocols,
    list(DISTINCT Mailbox) AS Mailboxes,
    list(DISTINCT UserId) AS Users,
    list(DISTINCT ClientAddress) AS Addresses,
    list(DISTINCT SessionId) AS Sessions,
    min(Mailbox) AS Mailbox,
    min(UserId) AS "User",
    min(ClientAddress) AS Address,
    'match' AS Verdict
FROM "_MailItemsAccessed"
WHERE lower(Operation) = 'mailitemsaccessed' AND lower(TokenTenant) IN ('foreign', 'consumer')
    AND EventTime > $now - INTERVAL 1 DAY
GROUP BY OrganizationId, TokenTenantId, Caller, Protocol;

-- rule: mailbox_throttled
SELECT
    OrganizationId, MailboxId,
    min(EventTime) AS FirstSeen,
    max(EventTime) AS LastSeen,
    count(*) AS Records,
    sum(OperationCount) AS OperationCount,
    count(DISTINCT MailboxId) AS MailboxCount,
    list(DISTINCT Caller) AS Callers,
    list(DISTINCT Protocol) AS Protocols,
    list(DISTINCT Mailbox) AS Mailboxes,
    list(DISTINCT UserId) AS Users,
    list(DISTINCT ClientAddress) AS Addresses,
    list(DISTINCT SessionId) AS Sessions,
    min(Mailbox) AS Mailbox,
    min(UserId) AS "User",
    min(ClientAddress) AS Address,
    'match' AS Verdict
FROM "_MailItemsAccessed"
WHERE lower(Operation) = 'mailitemsaccessed' AND lower(IsThrottled) = 'true'
    AND EventTime > $now - INTERVAL 1 DAY
GROUP BY OrganizationId, MailboxId;
