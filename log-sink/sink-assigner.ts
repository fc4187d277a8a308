/** Assigns the partitions of the log topic to the sinks of the consumer group, and none to a member that is no sink. */

import kafkajs, { type PartitionAssigner } from 'kafkajs'

/**
 * Has the name of kafkajs' round-robin assigner, so that sinks of earlier versions can share the group.
 *
 * A member chooses its client id by itself, so this is no authentication: that is a task of the brokers' ACLs.
 *
 * @param clientId of the sinks; the ids of their members start with it
 * @param onForeignMembers called by the leader of the group, once in each generation with members that are no sinks
 */
export function sinkAssigner(clientId: string, onForeignMembers: (count: number) => void): PartitionAssigner {
  return (config) => {
    const roundRobin = kafkajs.PartitionAssigners.roundRobin(config)
    return {
      ...roundRobin,
      assign({ members, topics }) {
        const sinks = members.filter(({ memberId }) => memberId.startsWith(`${clientId}-`))
        const foreign = members.length - sinks.length
        if (foreign > 0) onForeignMembers(foreign)
        return roundRobin.assign({ members: sinks, topics })
      }
    }
  }
}
