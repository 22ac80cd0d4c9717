-- One more tenth of the workspace: the first load's rows ($last is the highest rowid of them)
-- again, of other people, with other ids and some seconds later. Copy $copy is 1 to 9.
-- The ninth has what each rule looks for on its last day ($day), so that every rule fires.
INSERT INTO "M365Activity_CL"
WITH first_tenth AS (
    SELECT
        *,
        hash(RecordId) % 1000 AS dice,
        $copy = 9 AND Operation = 'MailItemsAccessed' AND EventTime >= $day AS last_day,
        $copy = 9 AND Operation = 'MailItemsAccessed'
            AND EventTime BETWEEN $day - INTERVAL 13 DAY AND $day - INTERVAL 11 DAY AS before,
        chr(102 + $copy::INTEGER) AS letter
    FROM "M365Activity_CL"
    WHERE rowid <= $last
),
callers AS (
    SELECT
        *,
        CASE
            WHEN last_day AND dice < 20 THEN '0f5b7a52-3d0b-4c3e-9a41-6d1c2b8e7f10'
            WHEN last_day AND dice < 40 OR before AND dice < 40
                THEN '7c1e9d34-58a6-4f02-b7c3-2e9f4a6b8d21'
        END AS other
    FROM first_tenth
)
SELECT
    * EXCLUDE (dice, last_day, before, letter, other)
    REPLACE (
        TimeGenerated + to_seconds($copy) AS TimeGenerated,
        EventTime + to_seconds($copy) AS EventTime,
        _arrived + to_seconds($copy) AS _arrived,
        letter || RecordId[2:] AS RecordId,
        $copy || '.' || UserId AS UserId,
        CASE WHEN SessionId = '' THEN '' ELSE letter || SessionId[2:] END AS SessionId,
        CASE
            WHEN MailboxGuid = '' THEN ''
            WHEN before AND other IS NOT NULL THEN 'one-of-few'
            WHEN dice BETWEEN 20 AND 39 AND other IS NOT NULL THEN 'few-' || dice % 8
            ELSE letter || MailboxGuid[2:]
        END AS MailboxGuid,
        CASE WHEN MailboxOwnerUPN = '' THEN '' ELSE $copy || '.' || MailboxOwnerUPN END
            AS MailboxOwnerUPN,
        coalesce(other, Caller) AS Caller,
        coalesce(other, ClientAppId) AS ClientAppId,
        IsThrottled OR (last_day AND dice BETWEEN 40 AND 59) AS IsThrottled,
        CASE
            WHEN last_day AND dice BETWEEN 60 AND 79 THEN '9188040d-6c67-4c5b-b112-36a304b66dad'
            ELSE TokenTenantId
        END AS TokenTenantId
    )
FROM callers
