ALTER TABLE "outbox" ALTER COLUMN "session_epoch" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "outbox" ADD COLUMN "payload" jsonb DEFAULT '{}'::jsonb NOT NULL;