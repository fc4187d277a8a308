CREATE TABLE "email_limits" (
	"key" text PRIMARY KEY NOT NULL,
	"sent_at" timestamp (3) with time zone[] NOT NULL
);
--> statement-breakpoint
CREATE TABLE "emails" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid,
	"purpose" text NOT NULL,
	"recipient" text,
	"session_epoch" bigint DEFAULT 0 NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"used_at" timestamp (3) with time zone,
	"claimed_until" timestamp (3) with time zone,
	"attempts" integer DEFAULT 0 NOT NULL,
	"sent_at" timestamp (3) with time zone,
	"dead_at" timestamp (3) with time zone,
	"failure" text
);
--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "email_verified_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "disabled_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "emails" ADD CONSTRAINT "emails_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "email_limits_newest_idx" ON "email_limits" USING btree ((sent_at[1]));--> statement-breakpoint
CREATE INDEX "emails_user_id_idx" ON "emails" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "emails_pending_idx" ON "emails" USING btree ("claimed_until" NULLS FIRST,"id") WHERE sent_at is null and dead_at is null;--> statement-breakpoint
CREATE INDEX "emails_expires_at_idx" ON "emails" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "outbox_pending_user_idx" ON "outbox" USING btree ("user_id","id") WHERE done_at is null;--> statement-breakpoint
CREATE INDEX "outbox_revocations_idx" ON "outbox" USING btree ("claimed_until" NULLS FIRST,"id") WHERE done_at is null and session_epoch is not null and revoked_at is null;--> statement-breakpoint
CREATE INDEX "outbox_done_at_idx" ON "outbox" USING btree ("done_at") WHERE done_at is not null;--> statement-breakpoint
CREATE INDEX "users_email_prefix_idx" ON "users" USING btree ("email" text_pattern_ops);