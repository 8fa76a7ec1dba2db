-- How much does each member of staff write, and in how many conversations?
SELECT
    u.name,
    u.is_disabled,
    count(*) AS messages,
    count(DISTINCT m.conversation_id) AS conversations
FROM messages AS m
JOIN users AS u ON u.page_id = m.page_id AND u.id = (m.sender ->> 'uid')
GROUP BY u.id, u.name, u.is_disabled
ORDER BY messages DESC, u.name;
