/** The metrics of log-sink; each series starts at zero. */

import { Counter, Gauge, type Registry } from '@prometheus-io/client'
import { refusals, serviceNames } from './record-batch.ts'

export type SinkMetrics = ReturnType<typeof sinkMetrics>

/** @param lagSeconds called at each scrape */
export function sinkMetrics(registry: Registry, lagSeconds: () => number) {
  const registers = [registry]
  new Gauge({
    name: 'log_sink_lag_seconds',
    help: 'Time for which the oldest uncollected line of this sink has been in the topic',
    registers,
    collect() {
      this.set(lagSeconds())
    }
  })
  const refused = new Counter({
    name: 'log_sink_refused_total',
    help: 'Refused records of the log topic, and refused members of the consumer group, by reason',
    labelNames: ['reason'],
    registers
  })
  for (const reason of [...refusals, 'member']) refused.inc({ reason }, 0)
  const lineCounter = (name: string, help: string) => {
    const counter = new Counter({ name, help, labelNames: ['service'], registers })
    for (const service of serviceNames) counter.inc({ service }, 0)
    return counter
  }
  return {
    refused,
    written: lineCounter('log_sink_written_total', 'Log lines collected, by service'),
    missing: new Counter({
      name: 'log_sink_missing_total',
      help: 'Missing log lines, counted by gaps in their positions',
      registers
    }),
    duplicates: lineCounter(
      'log_sink_duplicates_total',
      'Duplicate log lines, which were not written again, by service'
    ),
    deadLetters: new Counter({
      name: 'log_sink_dead_letters_total',
      help: 'Invalid lines and records, written to the dead-letter file',
      registers
    }),
    partitions: new Gauge({ name: 'log_sink_partitions', help: 'Partitions that this sink collects', registers }),
    topicPartitions: new Gauge({
      name: 'log_sink_topic_partitions',
      help: 'Partitions of the log topic, which all sinks together collect',
      registers
    }),
    stalled: new Gauge({
      name: 'log_sink_stalled',
      help: 'Whether collecting is stalled by the disk (1) or not (0)',
      registers
    }),
    storedBytes: new Gauge({ name: 'log_sink_stored_bytes', help: 'Bytes of all files of this sink', registers })
  }
}
