-- Adds to a table of breakers what shared records need. Running it again changes nothing and locks nothing, and neither rows nor
-- columns that are there are taken away. `schema.rs` fills in what is in braces, and puts the schema's name before each table's:
-- both are checked identifiers. Whatever would take a lock on a table looks first whether it has something to do.

do $fusebox$
begin

if to_regclass('"{table}"') is null then
    create table "{table}" (
        resource_key  varchar(255) primary key,
        state         varchar(50) not null default 'CLOSED' check (state in ('CLOSED', 'OPEN', 'HALF_OPEN')),
        failure_count integer not null default 0 check (failure_count >= 0),
        open_until    timestamptz,
        created_at    timestamptz not null default clock_timestamp(),
        updated_at    timestamptz not null default clock_timestamp()
    );
end if;

if {lacks_columns} then
    alter table "{table}"
        add column if not exists version     bigint not null default 0,
        add column if not exists generation  bigint not null default 0,
        add column if not exists record      bytea,
        add column if not exists expires_at  timestamptz,
        add column if not exists lease_until timestamptz not null default '-infinity',
        add column if not exists lease_token bigint not null default 0;
end if;

-- Room in each page, so that writes without a transition touch no index.
if not exists (select from pg_class where oid = '"{table}"'::regclass and 'fillfactor=50' = any (reloptions)) then
    alter table "{table}" set (fillfactor = 50);
end if;

if to_regclass('"{index}_state"') is null then
    create index "idx_{name}_state" on "{table}" (state);
end if;
if to_regclass('"{index}_open_until"') is null then
    create index "idx_{name}_open_until" on "{table}" (open_until) where open_until is not null;
end if;

-- Batches that lost the race for their record and wait for the writer that combines. Those of one writer have ids in the
-- order in which they were accepted, because the row of its mark is locked before an id is drawn.
if to_regclass('"{table}_outbox"') is null then
    create table "{table}_outbox" (
        id           bigint generated always as identity primary key,
        resource_key varchar(255) not null,
        delta        bytea not null,
        queued_at    timestamptz not null default clock_timestamp()
    );
end if;
if to_regclass('"{index}_outbox_key"') is null then
    create index "idx_{name}_outbox_key" on "{table}_outbox" (resource_key, id);
end if;
-- A queue is mostly dead rows: waiting for a fifth of a large table to die would make every look at it slow.
if not exists (
    select from pg_class
    where oid = '"{table}_outbox"'::regclass and 'autovacuum_vacuum_scale_factor=0' = any (reloptions)
) then
    alter table "{table}_outbox" set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
end if;

-- The newest batch that was accepted from each writer.
if to_regclass('"{table}_writers"') is null then
    create table "{table}_writers" (
        resource_key varchar(255) not null,
        writer       bigint not null,
        seq          bigint not null,
        seen_at      timestamptz not null default clock_timestamp(),
        primary key (resource_key, writer)
    ) with (fillfactor = 50);
end if;
if to_regclass('"{index}_writers_seen_at"') is null then
    create index "idx_{name}_writers_seen_at" on "{table}_writers" (seen_at);
end if;

-- What was noticed, with the notice as instances told it to each other: transitions, suspicions and their ends, leases that
-- were wanted. For people and their audits, and for instances that look what has changed: those see what transactions wrote
-- that were not over when they looked before.
if to_regclass('"{table}_events"') is null then
    create table "{table}_events" (
        resource_key varchar(255) not null,
        version      bigint not null,
        at           timestamptz not null,
        state        varchar(50) not null,
        payload      bytea not null,
        primary key (resource_key, version)
    );
end if;
if not exists (
    select from pg_attribute where attrelid = '"{table}_events"'::regclass and attname = 'txid' and not attisdropped
) then
    alter table "{table}_events" add column txid bigint;
    alter table "{table}_events" alter column txid set default txid_current();
end if;
if to_regclass('"{index}_events_at"') is null then
    create index "idx_{name}_events_at" on "{table}_events" (at);
end if;
if to_regclass('"{index}_events_txid"') is null then
    create index "idx_{name}_events_txid" on "{table}_events" (txid);
end if;

end
$fusebox$;

-- The only write there is. Answers: 0 conflict, 1 applied, 2 combine, 3 queued, 4 duplicate, 5 fenced, 6 not ours. `trouble`
-- says what went wrong with telling others of a write that stands. A function of an
-- older number stays for the instances that call it: another rule has another number, so that none gets answers by a rule
-- that it does not know.
create or replace function "{table}_commit_v2"(
    p_key text, p_expected bigint, p_record bytea, p_ttl_us bigint,
    p_state text, p_failures bigint, p_open_until_us bigint, p_generation bigint,
    p_writer bigint, p_seq bigint, p_delta bytea, p_may_queue boolean,
    p_token bigint, p_taken bigint[], p_release boolean, p_notice text, p_payload bytea,
    out answer integer, out newest bigint, out now_us bigint, out bytes text, out token bigint, out batches text,
    out adopted text, out trouble text
) language plpgsql as $fusebox$
declare
    t_now timestamptz := clock_timestamp();
    c "{table}"%rowtype;
    is_there boolean;
    is_free boolean;
    may_write boolean := false;
    t_id bigint;
begin
    -- A row that another session locks must not keep one of the few connections for long.
    perform set_config('lock_timeout', '{lock_timeout_ms}', true);
    if p_notice is null then
        -- A crash may lose the counts of the last moment, never a transition.
        perform set_config('synchronous_commit', 'off', true);
    end if;
    now_us := (extract(epoch from t_now) * 1000000)::bigint;

    -- Before the record is read, so that a record which comes with "duplicate" is no older than the batch.
    if p_seq is not null and exists (
        select from "{table}_writers" m where m.resource_key = p_key and m.writer = p_writer and m.seq >= p_seq
    ) then
        answer := 4;
    end if;
    select * into c from "{table}" r where r.resource_key = p_key;
    is_there := found;
    if c.version > {latest} or octet_length(c.record) > {largest} and c.expires_at > t_now then
        answer := 6;
        newest := c.version;
        token := coalesce(octet_length(c.record), 0);
        return;
    end if;
    adopted := {adopted};
    if c.expires_at is null or c.record is null or c.expires_at <= t_now then
        newest := 0;
    else
        newest := c.version;
        bytes := encode(c.record, 'hex');
    end if;
    if answer is not null then
        return;
    end if;
    -- A lease that ends later than any can was given before the clock was set back.
    is_free := coalesce(c.lease_until, '-infinity') not between t_now and t_now + interval '{round_lease}' * 3;

    if p_expected = newest and (case when p_token is null then is_free else c.lease_token = p_token end) then
        if not is_there then
            insert into "{table}" (resource_key, state, failure_count, created_at, updated_at)
            values (p_key, 'CLOSED', 0, t_now, t_now) on conflict do nothing;
        end if;
        -- Waiting writers would wake each other: a batch that finds the row taken queues instead.
        if p_seq is null or p_token is not null then
            select * into c from "{table}" r where r.resource_key = p_key for no key update;
        else
            select * into c from "{table}" r where r.resource_key = p_key for no key update skip locked;
        end if;
        if found then
            t_now := clock_timestamp();
            now_us := (extract(epoch from t_now) * 1000000)::bigint;
            is_free := c.lease_until not between t_now and t_now + interval '{round_lease}' * 3;
            newest := case when c.record is not null and c.expires_at > t_now then c.version else 0 end;
            if p_expected = newest and (case when p_token is null then is_free else c.lease_token = p_token end) then
                if newest = 0 and p_token is null then
                    -- What waited for a record that ran out went with it.
                    delete from "{table}_outbox" o where o.resource_key = p_key and o.queued_at < c.expires_at;
                end if;
                -- What waits comes first: the writer that finds it combines.
                may_write := p_token is not null
                    or not exists (select from "{table}_outbox" o where o.resource_key = p_key);
            end if;
            if may_write then
                if p_seq is not null then
                    insert into "{table}_writers" as m (resource_key, writer, seq) values (p_key, p_writer, p_seq)
                    on conflict (resource_key, writer) do update set seq = excluded.seq, seen_at = clock_timestamp()
                    where m.seq < excluded.seq;
                    if not found then
                        answer := 4;
                        bytes := case when newest > 0 then encode(c.record, 'hex') end;
                        return;
                    end if;
                end if;
                if p_taken is not null then
                    delete from "{table}_outbox" o where o.resource_key = p_key and o.id = any (p_taken);
                end if;
                if p_token is not null and not p_release then
                    select string_agg(w.id || ':' || encode(w.delta, 'hex'), ',' order by w.id) into batches from (
                        select o.id, o.delta from "{table}_outbox" o where o.resource_key = p_key order by o.id limit {max_round_batches}
                    ) w;
                end if;
                newest := greatest(c.version + 1, now_us);
                token := case when batches is null then 0 else newest end;
                update "{table}" r set version = newest, record = p_record, generation = p_generation,
                    state = p_state, failure_count = least(p_failures, 2147483647)::integer,
                    open_until = timestamptz 'epoch' + p_open_until_us * interval '1 microsecond', updated_at = t_now,
                    expires_at = t_now + p_ttl_us * interval '1 microsecond', lease_token = token,
                    lease_until = case when batches is null then '-infinity' else t_now + interval '{round_lease}' end
                where r.resource_key = p_key;
                if p_notice is not null then
                    begin
                        insert into "{table}_events" (resource_key, version, at, state, payload)
                        values (p_key, newest, t_now, p_state, p_payload) on conflict do nothing;
                    exception when others then
                        trouble := sqlerrm || ' (SQLSTATE ' || sqlstate || ')';
                    end;
                    -- A queue that is full would fail the transaction at its end.
                    if pg_notification_queue_usage() < 0.9 then
                        perform pg_notify('{channel}', newest || ' ' || p_notice);
                    else
                        trouble := 'the queue of notifications is full';
                    end if;
                end if;
                if p_seq is not null and random() < 0.01 then
                    delete from "{table}_writers" m where (m.resource_key, m.writer) in (
                        select d.resource_key, d.writer from "{table}_writers" d
                        where d.seen_at < t_now - interval '{mark_retention}' limit {prune_limit} for update skip locked
                    );
                end if;
                if batches is null then
                    answer := 1;
                    bytes := null;
                else
                    answer := 2;
                    bytes := encode(p_record, 'hex');
                end if;
                return;
            end if;
            bytes := case when newest > 0 then encode(c.record, 'hex') end;
        end if;
    end if;

    if p_token is not null then
        answer := 5;
        return;
    end if;

    if p_seq is null then
        answer := 0;
        if not exists (select from "{table}_outbox" o where o.resource_key = p_key) then
            return;
        end if;
    else
        -- Merely late, with no writer combining: cheaper to try again than to queue.
        if not p_may_queue and is_free and not exists (select from "{table}_outbox" o where o.resource_key = p_key) then
            answer := 0;
            return;
        end if;
        if exists (select from "{table}_outbox" o where o.resource_key = p_key offset {outbox_capacity} - 1) then
            -- Where there is a round to be had, its writer makes room; of several, the one that gets the row.
            select * into c from "{table}" r where r.resource_key = p_key for no key update skip locked;
            if not found or c.lease_until between clock_timestamp() and clock_timestamp() + interval '{round_lease}' * 3 then
                answer := 0;
                return;
            end if;
        end if;
        if not is_there then
            insert into "{table}" (resource_key, state, failure_count, created_at, updated_at)
            values (p_key, 'CLOSED', 0, t_now, t_now) on conflict do nothing;
        end if;
        insert into "{table}_writers" as m (resource_key, writer, seq) values (p_key, p_writer, p_seq)
        on conflict (resource_key, writer) do update set seq = excluded.seq, seen_at = clock_timestamp()
        where m.seq < excluded.seq;
        if not found then
            answer := 4;
            return;
        end if;
        insert into "{table}_outbox" (resource_key, delta) values (p_key, p_delta) returning id into t_id;
        answer := 3;
    end if;

    -- Something waits: it is the caller's turn to take it in unless it is another writer's.
    select * into c from "{table}" r where r.resource_key = p_key for no key update skip locked;
    if not found then
        return;
    end if;
    t_now := clock_timestamp();
    now_us := (extract(epoch from t_now) * 1000000)::bigint;
    newest := case when c.record is not null and c.expires_at > t_now then c.version else 0 end;
    bytes := case when newest > 0 then encode(c.record, 'hex') end;
    if c.lease_until between t_now and t_now + interval '{round_lease}' * 3 then
        return;
    end if;
    if newest = 0 then
        delete from "{table}_outbox" o
        where o.resource_key = p_key and o.queued_at < c.expires_at and o.id is distinct from t_id;
    end if;
    select string_agg(w.id || ':' || encode(w.delta, 'hex'), ',' order by w.id) into batches from (
        select o.id, o.delta from "{table}_outbox" o where o.resource_key = p_key order by o.id limit {max_round_batches}
    ) w;
    if batches is null then
        return;
    end if;
    token := greatest(c.version + 1, c.lease_token + 1, now_us);
    update "{table}" r set lease_until = t_now + interval '{round_lease}', lease_token = token where r.resource_key = p_key;
    answer := 2;
end
$fusebox$;
