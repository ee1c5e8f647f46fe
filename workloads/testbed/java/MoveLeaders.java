import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;

/**
 * Gives every partition of a cluster, those of consumer groups included, another leader: reassigns it to the same brokers with the next one
 * preferred, and has the preferred ones elected. Prints "moved" and how many did. Kafka's own tools for this are in none of the jars.
 *
 * Arguments: the brokers' addresses, and the seconds after which it gives up.
 */
public final class MoveLeaders {
    public static void main(String[] arguments) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0]))) {
            Map<TopicPartition, TopicPartitionInfo> before = partitions(admin);
            Map<TopicPartition, Optional<NewPartitionReassignment>> rotated = new HashMap<>();
            before.forEach((partition, info) -> rotated.put(partition, Optional.of(rotate(info.replicas()))));
            admin.alterPartitionReassignments(rotated).all().get();
            long deadline = System.nanoTime() + Long.parseLong(arguments[1]) * 1_000_000_000L;
            while (!prefers(admin)) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("leaders do not move: " + partitions(admin));
                }
                Thread.sleep(100);
            }
            Map<TopicPartition, TopicPartitionInfo> after = partitions(admin);
            long moved = before.keySet().stream()
                .filter(partition -> after.get(partition).leader().id() != before.get(partition).leader().id())
                .count();
            System.out.println("moved " + moved);
        }
    }

    private static Map<TopicPartition, TopicPartitionInfo> partitions(Admin admin) throws Exception {
        var names = admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get();
        Map<TopicPartition, TopicPartitionInfo> partitions = new HashMap<>();
        for (TopicDescription topic : admin.describeTopics(names).allTopicNames().get().values()) {
            topic.partitions().forEach(info -> partitions.put(new TopicPartition(topic.name(), info.partition()), info));
        }
        return partitions;
    }

    private static NewPartitionReassignment rotate(List<Node> replicas) {
        List<Integer> brokers = new ArrayList<>();
        replicas.forEach(replica -> brokers.add(replica.id()));
        brokers.add(brokers.remove(0));
        return new NewPartitionReassignment(brokers);
    }

    /** Asks for an election, and tells whether every leader is the preferred one. */
    private static boolean prefers(Admin admin) throws Exception {
        if (!admin.listPartitionReassignments().reassignments().get().isEmpty()) {
            return false;
        }
        try {
            // Null: all of them. Those that need none or cannot have one yet say so one by one, and are looked at below.
            admin.electLeaders(ElectionType.PREFERRED, null).partitions().get();
        } catch (ExecutionException error) {
            return false;
        }
        return partitions(admin).values().stream()
            .allMatch(info -> info.leader() != null && info.leader().id() == info.replicas().get(0).id());
    }
}
