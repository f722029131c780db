SET 'table.local-time-zone' = 'UTC';

SET 'table.exec.state.ttl' = '10800000 ms';

SET 'table.exec.source.idle-timeout' = '30 s';

SET 'table.optimizer.agg-phase-strategy' = 'ONE_PHASE';

SET 'table.optimizer.reuse-optimize-block-with-digest-enabled' = 'true';

CREATE TEMPORARY TABLE events (
  loopcast ROW<id STRING, `time` BIGINT, `values` ROW<`fee` BIGINT, `virtual_size` BIGINT>>,
  shard STRING METADATA FROM 'shard-id' VIRTUAL,
  arrival AS PROCTIME(),
  event_time AS TO_TIMESTAMP_LTZ(COALESCE(loopcast.`time`, 0), 3),
  WATERMARK FOR event_time AS TO_TIMESTAMP_LTZ(COALESCE(loopcast.`time`, 0) - 30000, 3)
) WITH (
  'connector' = 'kinesis',
  'stream' = 'transactions',
  'aws.region' = 'eu-west-1',
  'aws.endpoint' = 'http://aws.test',
  'format' = 'json',
  'scan.stream.initpos' = 'TRIM_HORIZON',
  'scan.shard-assigner' = 'uniform',
  'scan.shard.discovery.intervalmillis' = '10000',
  'scan.shard.getrecords.intervalmillis' = '250',
  'scan.shard.getrecords.maxretries' = '10',
  'json.ignore-parse-errors' = 'true'
);

CREATE TEMPORARY VIEW dated AS
SELECT
  loopcast.id AS id,
  loopcast.`time` AS ms,
  event_time,
  arrival,
  MAX(loopcast.`time`) OVER (PARTITION BY shard ORDER BY arrival) AS newest_ms,
  loopcast.`values`.`fee` AS `value_fee`,
  loopcast.`values`.`virtual_size` AS `value_virtual_size`
FROM events
WHERE loopcast.id IS NOT NULL
  AND loopcast.`time` IS NOT NULL
  AND loopcast.`values`.`fee` IS NOT NULL
  AND loopcast.`values`.`virtual_size` IS NOT NULL;

CREATE TEMPORARY VIEW distinct_events AS
SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY arrival) AS copy FROM dated)
WHERE copy = 1;

CREATE TEMPORARY VIEW judged AS
SELECT
  *,
  (
    minute_ms + 59999 <= newest_ms - 30000
    OR TO_TIMESTAMP_LTZ(minute_ms + 59999, 3) <= CURRENT_WATERMARK(event_time)
  ) IS TRUE AS late
FROM (SELECT *, ms - MOD(ms, 60000) AS minute_ms FROM distinct_events);

CREATE TEMPORARY TABLE minutes (
  series_id STRING,
  minute_start STRING,
  revision BIGINT,
  `transaction_count` BIGINT,
  `total_fee` BIGINT,
  `average_fee` DOUBLE,
  `average_fee_rate` DOUBLE
) PARTITIONED BY (series_id) WITH (
  'connector' = 'kinesis',
  'stream' = 'minutes',
  'aws.region' = 'eu-west-1',
  'aws.endpoint' = 'http://aws.test',
  'format' = 'json',
  'sink.flush-buffer.timeout' = '200',
  'sink.http-client.protocol.version' = 'HTTP1_1'
);

CREATE TEMPORARY TABLE late (
  series_id STRING,
  minute_start STRING,
  id STRING,
  `time` BIGINT
) PARTITIONED BY (series_id) WITH (
  'connector' = 'kinesis',
  'stream' = 'late',
  'aws.region' = 'eu-west-1',
  'aws.endpoint' = 'http://aws.test',
  'format' = 'json',
  'sink.flush-buffer.timeout' = '200',
  'sink.http-client.protocol.version' = 'HTTP1_1'
);

INSERT INTO minutes
SELECT
  'bitcoin-fees' AS series_id,
  DATE_FORMAT(window_start, 'yyyy-MM-dd''T''HH:mm:ss''Z''') AS minute_start,
  CAST(0 AS BIGINT) AS revision,
  COUNT(*) AS `transaction_count`,
  SUM(`value_fee`) AS `total_fee`,
  CAST(SUM(`value_fee`) AS DOUBLE) / CAST(COUNT(*) AS DOUBLE) AS `average_fee`,
  CAST(SUM(`value_fee`) AS DOUBLE) / NULLIF(CAST(SUM(`value_virtual_size`) AS DOUBLE), 0) AS `average_fee_rate`
FROM TABLE(TUMBLE(TABLE judged, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
WHERE NOT late
GROUP BY window_start, window_end;

INSERT INTO late
SELECT
  'bitcoin-fees' AS series_id,
  DATE_FORMAT(TO_TIMESTAMP_LTZ(minute_ms, 3), 'yyyy-MM-dd''T''HH:mm:ss''Z''') AS minute_start,
  id,
  ms AS `time`
FROM judged
WHERE late;

