/** What the parts of `make bench` are given. */

import type { Measurement } from './measurement.ts'
import type { Stores } from './population.ts'
import type { Product } from './product.ts'

/** A product that runs, and how much time there is for it. */
export interface Bench {
  product: Product
  stores: Stores
  /** A minute in all, for less reliable figures and without what takes long. */
  quick: boolean
  /** For what is needed meanwhile. */
  dataDir: string
  /** Keeps a drawing beside the results. */
  draw(name: string, svg: string): void
}

/** Measures some rows of the table. */
export type Part = (bench: Bench) => Promise<Measurement[]>
