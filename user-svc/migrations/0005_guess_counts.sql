CREATE TABLE "guess_counts" (
	"key" text PRIMARY KEY NOT NULL,
	"guesses" text[] NOT NULL,
	"networks" text[] NOT NULL,
	"paced_until" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "row_keys" (
	"name" text PRIMARY KEY NOT NULL,
	"secret" text NOT NULL
);
--> statement-breakpoint
CREATE INDEX "guess_counts_expires_at_idx" ON "guess_counts" USING btree ("expires_at");