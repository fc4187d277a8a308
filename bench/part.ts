/** The interface between `make bench` and its parts. */

import type { Measurement } from './measurement.ts'
import type { Stores } from './population.ts'
import type { Product } from './product.ts'

export interface Bench {
  product: Product
  stores: Stores
  /** Shorter and less reliable. */
  quick: boolean
  /** A folder for temporary data. */
  dataDir: string
}

/** Measures some rows of the table. */
export type Part = (bench: Bench) => Promise<Measurement[]>
