/** The metrics of log-sink; every series starts at zero. */

import { Counter, Gauge, type Registry } from '@prometheus-io/client'

export type SinkMetrics = ReturnType<typeof sinkMetrics>

/** @param lagSeconds asked at each scrape */
export function sinkMetrics(registry: Registry, lagSeconds: () => number) {
  const registers = [registry]
  new Gauge({
    name: 'log_sink_lag_seconds',
    help: 'How long the oldest line that this sink has still to collect has been with the brokers',
    registers,
    collect() {
      this.set(lagSeconds())
    }
  })
  return {
    written: new Counter({ name: 'log_sink_written_total', help: 'Log lines collected', registers }),
    missing: new Counter({
      name: 'log_sink_missing_total',
      help: 'Log lines that never came, known by the positions that were skipped',
      registers
    }),
    duplicates: new Counter({
      name: 'log_sink_duplicates_total',
      help: 'Log lines that came again and were left out',
      registers
    }),
    deadLetters: new Counter({
      name: 'log_sink_dead_letters_total',
      help: 'Lines and records that are no log lines, kept apart with the reason',
      registers
    }),
    partitions: new Gauge({ name: 'log_sink_partitions', help: 'Partitions that this sink collects', registers }),
    stalled: new Gauge({
      name: 'log_sink_stalled',
      help: 'Whether the disk does not take what is collected (1) or does (0)',
      registers
    }),
    storedBytes: new Gauge({ name: 'log_sink_stored_bytes', help: 'Bytes of all files of this sink', registers })
  }
}
