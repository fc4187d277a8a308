ALTER TABLE "guess_counts" ALTER COLUMN "networks" SET DEFAULT '{}';--> statement-breakpoint
ALTER TABLE "guess_counts" ADD COLUMN "recent_networks" integer[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
-- A row is below 4 KB. TOAST would compress its arrays or move them with each guess.
ALTER TABLE "guess_counts" SET (toast_tuple_target = 8160);
